package parity

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func dropScram(user string, mechanism int8) kmsg.AlterUserSCRAMCredentialsRequestDeletion {
	return kmsg.AlterUserSCRAMCredentialsRequestDeletion{Name: user, Mechanism: mechanism}
}

func putScram(user string, mechanism int8, iterations int32) kmsg.AlterUserSCRAMCredentialsRequestUpsertion {
	return kmsg.AlterUserSCRAMCredentialsRequestUpsertion{
		Name: user, Mechanism: mechanism, Iterations: iterations, Salt: []byte("salt"), SaltedPassword: []byte("a salted password of 32 bytes..."),
	}
}

// usersSorted sorts the users of an answer, and their mechanisms: Kafka keeps no order.
func usersSorted(_ server, answer kmsg.Response) {
	switch r := answer.(type) {
	case *kmsg.AlterUserSCRAMCredentialsResponse:
		slices.SortStableFunc(r.Results, func(a, b kmsg.AlterUserSCRAMCredentialsResponseResult) int { return cmp.Compare(a.User, b.User) })
	case *kmsg.DescribeUserSCRAMCredentialsResponse:
		slices.SortStableFunc(r.Results, func(a, b kmsg.DescribeUserSCRAMCredentialsResponseResult) int { return cmp.Compare(a.User, b.User) })
		for i := range r.Results {
			slices.SortFunc(r.Results[i].CredentialInfos, func(a, b kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo) int {
				return cmp.Compare(a.Mechanism, b.Mechanism)
			})
		}
	}
}

func scramUsers(c *conversation) {
	cl := c.dial("parity")
	type (
		drops = []kmsg.AlterUserSCRAMCredentialsRequestDeletion
		puts  = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion
	)
	describe := func(label string, users ...string) {
		req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		for _, u := range users {
			req.Users = append(req.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: u})
		}
		ask[*kmsg.DescribeUserSCRAMCredentialsResponse](cl, label, req, usersSorted)
	}
	marks := 0
	alter := func(label string, d drops, u puts) {
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		req.Deletions, req.Upsertions = d, u
		ask[*kmsg.AlterUserSCRAMCredentialsResponse](cl, label, req, usersSorted)
		cl.scramSettled(&marks)
		describe("all after " + label)
	}
	describe("nobody")
	describe("unknown", "ann")
	alter("nothing", nil, nil)
	alter("new", nil, puts{putScram("ann", 1, 4096), putScram("bob", 2, 16384), putScram("zoë", 1, 8192)})
	alter("another mechanism", nil, puts{putScram("ann", 2, 5000)})
	alter("overwritten", nil, puts{putScram("bob", 2, 4097)})
	alter("no name", drops{dropScram("", 1)}, puts{putScram("", 1, 4096)})
	alter("no name and an unknown mechanism", nil, puts{putScram("", 9, 1)})
	for _, mechanism := range []int8{-1, 0, 3, 127} {
		alter("unknown mechanism "+shown(mechanism), drops{dropScram("bob", mechanism)}, puts{putScram("eve", mechanism, 4096)})
	}
	for _, iterations := range []int32{-1, 0, 4095, 16385, 1<<31 - 1} {
		alter("iterations "+shown(iterations), nil, puts{putScram("eve", 1, iterations), putScram("eva", 2, iterations)})
	}
	alter("absent", drops{dropScram("eve", 1), dropScram("bob", 1)}, nil)
	alter("twice", nil, puts{putScram("eve", 1, 4096), putScram("eve", 1, 5000)})
	alter("two mechanisms", nil, puts{putScram("eve", 1, 4096), putScram("eve", 2, 4096)})
	alter("three times", drops{dropScram("bob", 2)}, puts{putScram("bob", 1, 4096), putScram("bob", 2, 4096)})
	alter("deleted twice", drops{dropScram("bob", 2), dropScram("bob", 2)}, nil)
	alter("deleted and set", drops{dropScram("ann", 1)}, puts{putScram("ann", 1, 9000)})
	alter("twice, the first one bad", nil, puts{putScram("eve", 1, 1), putScram("eve", 1, 4096)})
	alter("twice, the second one bad", nil, puts{putScram("eve", 1, 4096), putScram("eve", 9, 4096)})
	alter("good and bad", drops{dropScram("ann", 2)}, puts{putScram("eve", 1, 1), putScram("eva", 1, 4096)})
	describe("some", "ann", "bob", "eve")
	describe("twice", "ann", "bob", "ann")
	describe("thrice", "ann", "ann", "ann")
	describe("an unknown one twice", "nobody", "nobody")
	describe("no name", "")
	empty := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	empty.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{}
	ask[*kmsg.DescribeUserSCRAMCredentialsResponse](cl, "an empty list", empty, usersSorted)
	alter("the end", drops{dropScram("ann", 1), dropScram("bob", 2), dropScram("eva", 1), dropScram("zoë", 1)}, nil)
}

// scramSettled waits until the broker has applied the changes so far: a user made last is there, and is gone again.
func (cl *client) scramSettled(marks *int) {
	*marks++
	mark := "mark-" + shown(*marks)
	there := func(want bool) {
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		if want {
			req.Upsertions = append(req.Upsertions, putScram(mark, 1, 4096))
		} else {
			req.Deletions = append(req.Deletions, dropScram(mark, 1))
		}
		if _, outcome := cl.send("mark", req).read(); outcome != "" {
			cl.abort("mark: %s", outcome)
		}
		asked := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		asked.Users = append(asked.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: mark})
		until(cl, "the mark", asked, func(r *kmsg.DescribeUserSCRAMCredentialsResponse) bool { return (r.Results[0].ErrorCode == 0) == want })
	}
	there(true)
	there(false)
}
