package org.apache.kafka.controller;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Collectors;
import org.apache.kafka.common.DirectoryId;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.metadata.PartitionChangeRecord;
import org.apache.kafka.metadata.LeaderRecoveryState;
import org.apache.kafka.metadata.PartitionRegistration;
import org.apache.kafka.metadata.placement.PartitionAssignment;
import org.apache.kafka.server.common.ApiMessageAndVersion;
import org.apache.kafka.server.common.MetadataVersion;

/**
 * Writes what Apache Kafka decides about random changes of partitions, one a line, for partition_change_golden_test.go:
 *
 *   javac -cp "libs/*" -d out PartitionChanges.java && java -cp "libs/*:out" org.apache.kafka.controller.PartitionChanges 2500 > partition_changes_4.3.1.tsv
 */
public class PartitionChanges {
    static final Random R = new Random(966);

    static List<Integer> some(List<Integer> from, double share) {
        List<Integer> out = new ArrayList<>();
        for (int x : from) if (R.nextDouble() < share) out.add(x);
        return out;
    }

    static List<Integer> shuffled(List<Integer> from) {
        List<Integer> out = new ArrayList<>(from);
        Collections.shuffle(out, R);
        return out;
    }

    static int[] array(List<Integer> l) { return l.stream().mapToInt(Integer::intValue).toArray(); }

    static String text(List<Integer> l) {
        return l == null ? "-" : "[" + l.stream().map(String::valueOf).collect(Collectors.joining(",")) + "]";
    }

    static <T> List<T> without(List<T> a, List<T> b) { return a.stream().filter(x -> !b.contains(x)).toList(); }

    public static void main(String[] args) {
        List<Integer> all = List.of(1, 2, 3, 4, 5, 6);
        for (int n = Integer.parseInt(args[0]); n > 0; n--) {
            boolean elrOn = R.nextInt(4) > 0;
            MetadataVersion mv = !elrOn && R.nextBoolean() ? MetadataVersion.IBP_3_5_IV2 : MetadataVersion.IBP_4_3_IV0;
            List<Integer> replicas = shuffled(all).subList(0, 1 + R.nextInt(4));
            List<Integer> isr = shuffled(some(replicas, 0.6));
            if (isr.isEmpty() && !elrOn) isr = List.of(replicas.get(R.nextInt(replicas.size())));
            List<Integer> elr = elrOn && R.nextBoolean() ? some(without(replicas, isr), 0.6).stream().sorted().toList() : List.of();
            int leader = isr.isEmpty() || R.nextInt(4) == 0 ? -1 : isr.get(R.nextInt(isr.size()));
            List<Integer> last = elrOn && leader == -1 && R.nextBoolean() ? shuffled(replicas).subList(0, 1) : List.of();
            List<Integer> removing = List.of(), adding = List.of();
            if (replicas.size() > 1 && R.nextInt(3) == 0) {
                adding = some(replicas, 0.4).stream().sorted().toList();
                removing = some(without(replicas, adding), 0.4).stream().sorted().toList();
            }
            LeaderRecoveryState recovery = R.nextInt(4) == 0 ? LeaderRecoveryState.RECOVERING : LeaderRecoveryState.RECOVERED;
            int minIsr = Math.min(replicas.size(), 1 + R.nextInt(3));
            List<Integer> acceptable = some(all, 0.7);
            PartitionChangeBuilder.Election election = PartitionChangeBuilder.Election.values()[R.nextInt(3)];

            Uuid[] dirs = new Uuid[replicas.size()];
            java.util.Arrays.fill(dirs, DirectoryId.MIGRATING);
            PartitionRegistration p = new PartitionRegistration.Builder().setReplicas(array(replicas)).setDirectories(dirs).setIsr(array(isr))
                .setRemovingReplicas(array(removing)).setAddingReplicas(array(adding)).setElr(array(elr)).setLastKnownElr(array(last))
                .setLeader(leader).setLeaderRecoveryState(recovery).setLeaderEpoch(10).setPartitionEpoch(20).build();
            PartitionChangeBuilder b = new PartitionChangeBuilder(p, Uuid.ONE_UUID, 0, acceptable::contains, mv, minIsr, elrOn)
                .setElection(election).setDefaultDirProvider(id -> DirectoryId.MIGRATING);

            String op, argument;
            switch (R.nextInt(5)) {
                case 0: {
                    List<Integer> target = shuffled(some(replicas, 0.6));
                    if (target.isEmpty()) target = List.of(replicas.get(0));
                    b.setTargetIsr(target);
                    op = "isr"; argument = text(target);
                    break;
                }
                case 1: {
                    List<Integer> gone = List.of(1 + R.nextInt(6));
                    b.setTargetIsr(without(isr, gone));
                    op = "removed"; argument = text(gone);
                    break;
                }
                case 2: {
                    List<Integer> gone = List.of(1 + R.nextInt(6));
                    b.setTargetIsr(without(isr, gone)).setUncleanShutdownReplicas(gone);
                    op = "unclean"; argument = text(gone);
                    break;
                }
                case 3: {
                    List<Integer> target = shuffled(all).subList(0, 1 + R.nextInt(4));
                    PartitionReassignmentReplicas r = new PartitionReassignmentReplicas(
                        new PartitionAssignment(replicas, id -> DirectoryId.MIGRATING), new PartitionAssignment(target, id -> DirectoryId.MIGRATING));
                    if (!r.replicas().equals(replicas)) b.setTargetReplicas(r.replicas());
                    if (!r.removing().isEmpty()) b.setTargetRemoving(r.removing());
                    if (!r.adding().isEmpty()) b.setTargetAdding(r.adding());
                    b.setElection(PartitionChangeBuilder.Election.ONLINE);
                    op = "reassign"; argument = text(target);
                    break;
                }
                default: {
                    op = "cancel"; argument = "-";
                    if (adding.isEmpty() && removing.isEmpty()) { op = "none"; break; }
                    try {
                        PartitionReassignmentRevert r = new PartitionReassignmentRevert(p);
                        b.setTargetIsr(r.isr()).setTargetReplicas(r.replicas()).setTargetRemoving(List.of()).setTargetAdding(List.of());
                        argument = String.valueOf(r.unclean());
                    } catch (Exception e) {
                        argument = "refused";
                    }
                }
            }
            String result = "refused";
            if (!argument.equals("refused")) {
                Optional<ApiMessageAndVersion> made = b.build();
                result = "nothing";
                if (made.isPresent()) {
                    PartitionChangeRecord c = (PartitionChangeRecord) made.get().message();
                    result = String.join("\t", text(c.isr()), text(c.eligibleLeaderReplicas()), text(c.lastKnownElr()), String.valueOf(c.leader()),
                        text(c.replicas()), text(c.removingReplicas()), text(c.addingReplicas()), String.valueOf(c.leaderRecoveryState()));
                }
            }
            System.out.println(String.join("\t", String.valueOf(elrOn), String.valueOf(mv.featureLevel()), String.valueOf(minIsr),
                election.toString(), text(acceptable), text(replicas), text(isr), text(removing), text(adding), text(elr), text(last),
                String.valueOf(leader), String.valueOf(recovery.value()), op, argument, result));
        }
    }
}
