package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestControllerRegistration(t *testing.T) {
	req := kmsg.NewPtrControllerRegistrationRequest()
	req.Version = 0
	req.ControllerID = 2
	checkDirect(t, req, 0, func(r *kmsg.ControllerRegistrationResponse) { r.ThrottleMillis = 5 }, func(r *kmsg.ControllerRegistrationResponse) int16 { return r.ErrorCode })
}
