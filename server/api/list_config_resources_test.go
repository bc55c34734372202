package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestListConfigResources(t *testing.T) {
	image, _, err := threeBrokers(t).With(1000, 1, []schema.MetadataRecord{
		configRecord(config.Group, "gg", "consumer.session.timeout.ms", "50000"),
		configRecord(config.ClientMetrics, "mm", "interval.ms", "1000"),
	})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := imageNode(t, image, nil)
	all := []string{"32 gg", "16 mm", "8 1", "8 2", "4 1", "4 2", "2 __consumer_offsets", "2 good", "2 lost"}
	tests := []struct {
		version int16
		types   []int8
		want    []string
		code    int16
	}{
		{0, nil, []string{"16 mm"}, 0},
		{1, nil, all, 0},
		{1, []int8{2}, all[6:], 0},
		{1, []int8{4, 8}, all[2:6], 0}, // a fenced broker is not listed
		{1, []int8{16}, []string{"16 mm"}, 0},
		{1, []int8{32}, []string{"32 gg"}, 0},
		{1, []int8{0}, nil, 35},
		{1, []int8{2, 64}, nil, 35},
	}
	for _, tt := range tests {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.Version, req.ResourceTypes = tt.version, tt.types
		resp := ask[*kmsg.ListConfigResourcesResponse](t, n, "PLAINTEXT", req)
		var got []string
		for _, r := range resp.ConfigResources {
			kind := r.Type
			if tt.version == 0 {
				kind = int8(config.ClientMetrics)
			}
			got = append(got, fmt.Sprintf("%d %s", kind, r.Name))
		}
		slices.SortStableFunc(got, func(a, b string) int { return slices.Index(all, a) - slices.Index(all, b) })
		if resp.ErrorCode != tt.code || !slices.Equal(got, tt.want) {
			t.Errorf("v%d %v: %d %q, want %d %q", tt.version, tt.types, resp.ErrorCode, got, tt.code, tt.want)
		}
	}
}
