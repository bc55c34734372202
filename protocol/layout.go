package protocol

// layout is how a request's body is built, in all versions from 0 on.
type layout struct {
	flexible int16  // the first version with compact lengths and tags
	fields   string // see layouts
}

// never is a first flexible version that does not come.
const never = 1<<15 - 1

// layouts has the body of each request that clients, brokers and controllers send since Kafka 3.9, as far as is needed to walk over it; by
// key. One field after the other, apart by spaces:
//
//	b h i l u    a number of 1, 2, 4, 8 or 16 bytes
//	s y          a string; bytes or records
//	<i>          an array of such values
//	[s i]        an array of structs
//	(s i) ?(s i) a struct; one that may be null
//
// before which may stand the versions in which it is there, 3+ or 0-12, and, of a tagged field, its tag: #0,12+s.
var layouts = map[int16]layout{
	0:  {9, "3+s h i [0-12s 13+u [i y]]"},                                                                                                            // Produce
	1:  {12, "#0,12+s 0-14i #1,15+(15+i 15+l) i i 3+i 4+b 7+i 7+i [0-12s 13+u [i 9+i l 12+i 5+l i #0,17+u #1,18+l]] 7+[7-12s 13+u 7+<i>] 11+s"},      // Fetch
	2:  {6, "i 2+b [s [i 4+i l 0-0i]] 10+i"},                                                                                                         // ListOffsets
	3:  {9, "[10+u s] 4+b 8-10b 8+b"},                                                                                                                // Metadata
	8:  {8, "s 1+i 1+s 7+s 2-4l [0-9s 10+u [i l 6+i 1-1l s]]"},                                                                                       // OffsetCommit
	9:  {6, "0-7s 0-7[0-7s 0-7<i>] 8+[8+s 9+s 9+i 8+[8-9s 10+u 8+<i>]] 7+b"},                                                                         // OffsetFetch
	10: {3, "0-3s 1+b 4+<s>"},                                                                                                                        // FindCoordinator
	11: {6, "s i 1+i s 5+s s [s y] 8+s"},                                                                                                             // JoinGroup
	12: {4, "s i s 3+s"},                                                                                                                             // Heartbeat
	13: {4, "s 0-2s 3+[3+s 3+s 5+s]"},                                                                                                                // LeaveGroup
	14: {4, "s i s 3+s 5+s 5+s [s y]"},                                                                                                               // SyncGroup
	15: {5, "<s> 3+b"},                                                                                                                               // DescribeGroups
	16: {3, "4+<s> 5+<s>"},                                                                                                                           // ListGroups
	17: {never, "s"},                                                                                                                                 // SaslHandshake
	18: {3, "3+s 3+s 5+s 5+i"},                                                                                                                       // ApiVersions
	19: {5, "[s i h [i <i>] [s s]] i 1+b"},                                                                                                           // CreateTopics
	20: {4, "6+[6+s 6+u] 0-5<s> i"},                                                                                                                  // DeleteTopics
	21: {2, "[s [i l]] i"},                                                                                                                           // DeleteRecords
	22: {2, "s i 3+l 3+h 6+b 6+b"},                                                                                                                   // InitProducerId
	23: {4, "3+i [s [i 2+i i]]"},                                                                                                                     // OffsetForLeaderEpoch
	24: {3, "4+[4+s 4+l 4+h 4+b 4+[s <i>]] 0-3s 0-3l 0-3h 0-3[s <i>]"},                                                                               // AddPartitionsToTxn
	25: {3, "s l h s"},                                                                                                                               // AddOffsetsToTxn
	26: {3, "s l h b"},                                                                                                                               // EndTxn
	27: {1, "[l h b [s <i>] i 2+b]"},                                                                                                                 // WriteTxnMarkers
	28: {3, "s s l h 3+i 3+s 3+s [0-5s 6+u [i l 2+i s]]"},                                                                                            // TxnOffsetCommit
	29: {2, "b s 1+b s s b b"},                                                                                                                       // DescribeAcls
	30: {2, "[b s 1+b s s b b]"},                                                                                                                     // CreateAcls
	31: {2, "[b s 1+b s s b b]"},                                                                                                                     // DeleteAcls
	32: {4, "[b s <s>] 1+b 3+b"},                                                                                                                     // DescribeConfigs
	33: {2, "[b s [s s]] b"},                                                                                                                         // AlterConfigs
	34: {2, "[s [s <i>]]"},                                                                                                                           // AlterReplicaLogDirs
	35: {2, "[s <i>]"},                                                                                                                               // DescribeLogDirs
	36: {2, "y"},                                                                                                                                     // SaslAuthenticate
	37: {2, "[s i [<i>]] i b"},                                                                                                                       // CreatePartitions
	38: {2, "3+s 3+s [s s] l"},                                                                                                                       // CreateDelegationToken
	39: {2, "y l"},                                                                                                                                   // RenewDelegationToken
	40: {2, "y l"},                                                                                                                                   // ExpireDelegationToken
	41: {2, "[s s]"},                                                                                                                                 // DescribeDelegationToken
	42: {2, "<s>"},                                                                                                                                   // DeleteGroups
	43: {2, "1+b [s <i>] i"},                                                                                                                         // ElectLeaders
	44: {1, "[b s [s b s]] b"},                                                                                                                       // IncrementalAlterConfigs
	45: {0, "i 1+b [s [i <i>]]"},                                                                                                                     // AlterPartitionReassignments
	46: {0, "i [s <i>]"},                                                                                                                             // ListPartitionReassignments
	47: {never, "s [s [i]]"},                                                                                                                         // OffsetDelete
	48: {1, "[s b s] b"},                                                                                                                             // DescribeClientQuotas
	49: {1, "[[s s] [s l b]] b"},                                                                                                                     // AlterClientQuotas
	50: {0, "[s]"},                                                                                                                                   // DescribeUserScramCredentials
	51: {0, "[s b] [s b i y y]"},                                                                                                                     // AlterUserScramCredentials
	52: {0, "s 1+i [s [i i i 1+u 1+u i l 2+b]]"},                                                                                                     // Vote
	53: {1, "s 1+i [s [i 1+u i i]] 1+[1+s 1+s 1+h]"},                                                                                                 // BeginQuorumEpoch
	54: {1, "s [s [i i i 0-0<i> 1+[1+i 1+u]]] 1+[1+s 1+s 1+h]"},                                                                                      // EndQuorumEpoch
	55: {0, "[s [i]]"},                                                                                                                               // DescribeQuorum
	56: {0, "i l [0-1s 2+u [i i 0-2<i> 3+[3+i 3+l] 1+b i]]"},                                                                                         // AlterPartition
	57: {0, "i [s h 0-0b 1+b] 1+b"},                                                                                                                  // UpdateFeatures
	58: {0, "y y y"},                                                                                                                                 // Envelope
	59: {0, "#0,s i i [s [i i (l i) l #0,1+u]]"},                                                                                                     // FetchSnapshot
	60: {0, "b 1+b 2+b"},                                                                                                                             // DescribeCluster
	61: {0, "[s <i>]"},                                                                                                                               // DescribeProducers
	62: {0, "i s u [s s h h] [s h h] s 1+b 2+<u> 3+l"},                                                                                               // BrokerRegistration
	63: {0, "i l l b b #0,1+<u> #1,2+<u>"},                                                                                                           // BrokerHeartbeat
	64: {0, "i"},                                                                                                                                     // UnregisterBroker
	65: {0, "<s>"},                                                                                                                                   // DescribeTransactions
	66: {0, "<s> <l> 1+l 2+s"},                                                                                                                       // ListTransactions
	67: {0, "i l"},                                                                                                                                   // AllocateProducerIds
	68: {0, "s s i s s i <s> 1+s s [u <i>]"},                                                                                                         // ConsumerGroupHeartbeat
	69: {0, "<s> b"},                                                                                                                                 // ConsumerGroupDescribe
	70: {0, "i u b [s s h h] [s h h]"},                                                                                                               // ControllerRegistration
	71: {0, "u"},                                                                                                                                     // GetTelemetrySubscriptions
	72: {0, "u i b b y"},                                                                                                                             // PushTelemetry
	73: {0, "i l [u [u [i]]]"},                                                                                                                       // AssignReplicasToDirs
	74: {0, "1+<b>"},                                                                                                                                 // ListConfigResources
	75: {0, "[s] i ?(s i)"},                                                                                                                          // DescribeTopicPartitions
	76: {0, "s s i s <s>"},                                                                                                                           // ShareGroupHeartbeat
	77: {0, "<s> b"},                                                                                                                                 // ShareGroupDescribe
	78: {0, "s s i i i i 1+i 1+i 2+b 2+b [u [i 0-0i [l l <b>]]] [u <i>]"},                                                                            // ShareFetch
	79: {0, "s s i 2+b [u [i [l l <b>]]]"},                                                                                                           // ShareAcknowledge
	80: {0, "s i i u [s s h] 1+b"},                                                                                                                   // AddRaftVoter
	81: {0, "s i u"},                                                                                                                                 // RemoveRaftVoter
	82: {0, "s i i u [s s h] (h h)"},                                                                                                                 // UpdateRaftVoter
	83: {0, "s [u [i i l]]"},                                                                                                                         // InitializeShareGroupState
	84: {0, "s [u [i i]]"},                                                                                                                           // ReadShareGroupState
	85: {0, "s [u [i i i l 1+i [l l b h]]]"},                                                                                                         // WriteShareGroupState
	86: {0, "s [u [i]]"},                                                                                                                             // DeleteShareGroupState
	87: {0, "s [u [i i]]"},                                                                                                                           // ReadShareGroupStateSummary
	88: {0, "s s i i s s i ?(i [s <s> <s> [s i h [s s]] <s> [s i h [s s]] [<h> <h> <h>]]) [s <i>] [s <i>] [s <i>] s ?(s h) [s s] [s i l] [s i l] b"}, // StreamsGroupHeartbeat
	89: {0, "<s> b 1+b"},                                                                                                                             // StreamsGroupDescribe
	90: {0, "[s [s <i>]]"},                                                                                                                           // DescribeShareGroupOffsets
	91: {0, "s [s [i l]]"},                                                                                                                           // AlterShareGroupOffsets
	92: {0, "s [s]"},                                                                                                                                 // DeleteShareGroupOffsets
	93: {0, "s s i ([s [s b <s> s <s> <s>]] [(s b <s> s <s> <s>) (s b <s> s <s> <s>)])"},                                                             // StreamsGroupTopologyDescriptionUpdate
	94: {0, "i"},                                                                                                                                     // UnregisterController
}
