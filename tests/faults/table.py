"""
The faults that a cluster survives: each a sentence with a deadline, under steady load.

Of all of them it holds that nothing is lost, nothing is there twice, and records equal what was sent; where something
may be lost, the formula of the documentation says how much. Deadlines are those of docs/architecture.md.
"""

from typing import Final

from tests.faults import acts, checks
from tests.faults.fault import VIP_BACK_S, Fault, nothing

AWAY_S: Final = 20.0
"""How long "gone" is."""

BALANCED: Final = (
    Fault(
        "balanced-ingest-killed",
        "When an ingest node is killed, balancers send its calls to others within 1 s; nothing is lost.",
        inject=acts.kill_ingest, heal=acts.start_until_ready, held_s=3, is_balanced=True,
        recovered=checks.balancers_left_it, within_s=1, look_every_s=0.05,
    ),
    Fault(
        "balanced-ingest-hung",
        "When an ingest node hangs, balancers send its calls to others within 1 s; nothing is lost.",
        inject=acts.freeze_ingest, heal=acts.let_go, held_s=5, is_balanced=True,
        recovered=checks.balancers_left_it, within_s=1, look_every_s=0.05,
    ),
    Fault(
        "balancer-killed",
        "When the balancer that has the VIP is killed, another has it within 1 s; what was sent meanwhile is lost.",
        inject=acts.kill_balancer, heal=acts.start_until_ready, held_s=3, is_balanced=True,
        recovered=checks.another_balances, within_s=VIP_BACK_S, look_every_s=0.05,
        most_lost=checks.while_the_vip_moves,
    ),
    Fault(
        "rolling-restart",
        "When all ingest nodes and balancers are restarted in turn, nothing is lost.",
        inject=acts.restart_all_in_turn, heal=nothing, is_balanced=True,
        recovered=checks.all_ingest_stores, within_s=15,
    ),
)  # fmt: skip
"""Behind balancers that mirror, as they do unless told otherwise; on a smaller lab than the others."""

FAULTS: Final = (
    Fault(
        "redis-primary-killed",
        "When the Redis primary is killed, transitions come again within 3 s, and the store is not disturbed.",
        inject=acts.kill_redis_primary, heal=acts.start_again,
        recovered=checks.transitions_come, within_s=3, meanwhile=(checks.the_store_goes_on,),
    ),
    Fault(
        "redis-primary-hung",
        "When the Redis primary hangs, transitions come again within 3 s, and the store is not disturbed.",
        inject=acts.freeze_redis_primary, heal=acts.let_go,
        recovered=checks.transitions_come, within_s=3, meanwhile=(checks.the_store_goes_on,),
    ),
    Fault(
        "redis-primary-cut",
        "When the link of the Redis primary's host is cut, transitions come again within 3 s, and the store is not "
        "disturbed.",
        inject=acts.cut_redis_primary, heal=acts.heal_links,
        recovered=checks.transitions_come, within_s=3, meanwhile=(checks.the_store_goes_on,),
    ),
    Fault(
        "redis-gone",
        "When all of Redis is gone for 20 s and comes back empty, transitions come within 10 s of its return, calls in "
        "progress are live again, and the store is not disturbed.",
        inject=acts.kill_all_redis, heal=acts.start_redis_empty, held_s=AWAY_S,
        recovered=checks.transitions_come_after_heal, is_after_heal=True, within_s=10,
        meanwhile=(checks.the_store_goes_on,), afterwards=(checks.live_state_is_rebuilt,),
    ),
    Fault(
        "replica-killed",
        "When a ClickHouse replica is killed, every ingest node stores again within 2 s; back, it gets all it missed.",
        inject=acts.kill_replica, heal=acts.start_again, held_s=6,
        recovered=checks.all_ingest_stores, within_s=2, afterwards=(checks.replicas_become_equal,),
    ),
    Fault(
        "shard-gone",
        "When a whole shard is gone for 20 s, every ingest node stores again within 2 s.",
        inject=acts.kill_shard, heal=acts.start_again, held_s=AWAY_S,
        recovered=checks.all_ingest_stores, within_s=2, afterwards=(checks.replicas_become_equal,),
    ),
    Fault(
        "clickhouse-gone",
        "When all of ClickHouse is gone for 20 s, ingest nodes keep everything in their spools, and every one stores "
        "again within 15 s of its return.",
        inject=acts.kill_all_clickhouse, heal=acts.start_again, held_s=AWAY_S,
        recovered=checks.all_ingest_stores_after_heal, is_after_heal=True, within_s=15,
        meanwhile=(checks.the_spool_takes_over,),
        afterwards=(checks.the_spools_are_empty, checks.replicas_become_equal),
    ),
    Fault(
        "keeper-leader-killed",
        "When the leader of Keeper is killed, every ingest node stores again within 5 s.",
        inject=acts.kill_keeper_leader, heal=acts.start_again,
        recovered=checks.all_ingest_stores, within_s=5, afterwards=(checks.replicas_become_equal,),
    ),
    Fault(
        "keeper-quorum-gone",
        "When Keeper has no quorum for 20 s, ingest nodes keep everything in their spools, and every one stores again "
        "within 15 s of its return.",
        inject=acts.kill_keeper_quorum, heal=acts.start_again, held_s=AWAY_S,
        recovered=checks.all_ingest_stores_after_heal, is_after_heal=True, within_s=15,
        meanwhile=(checks.the_spool_takes_over,),
        afterwards=(checks.the_spools_are_empty, checks.replicas_become_equal),
    ),
    Fault(
        "replica-wiped",
        "When a replica loses its disk, every ingest node stores again within 2 s, and `everline store repair` brings "
        "it back whole.",
        inject=acts.wipe_replica, heal=acts.repair_store, held_s=5,
        recovered=checks.all_ingest_stores, within_s=2, afterwards=(checks.replicas_become_equal,),
    ),
    Fault(
        "replica-forgot-parts",
        "When a replica has silently lost the parts of a day, the auditor finds and repairs it within 60 s.",
        inject=acts.forget_day, heal=nothing,
        recovered=checks.the_day_is_there_again, within_s=60, look_every_s=1.0,
    ),
    Fault(
        "ingest-killed",
        "When an ingest node is killed in the middle of a batch, no more is lost than the formula says, and it stores "
        "again within 30 s of its start.",
        inject=acts.kill_ingest, heal=acts.start_until_ready, held_s=3,
        recovered=checks.all_ingest_stores_after_heal, is_after_heal=True, within_s=30,
        most_lost=checks.by_the_formula,
    ),
    Fault(
        "leader-hung",
        "When the leader hangs for longer than its session, another leads within 3 s, and what the old one writes late "
        "is refused.",
        inject=acts.freeze_leader, heal=acts.let_go, held_s=5,
        recovered=checks.another_leads, within_s=3,
        meanwhile=(checks.the_store_goes_on,), afterwards=(checks.the_old_leader_is_refused,),
    ),
    Fault(
        "rack-gone",
        "When a whole rack is gone, ingest, store, bus and election go on in the others within 5 s.",
        inject=acts.lose_rack, heal=acts.give_rack_back, held_s=10, copies=2,
        recovered=checks.others_go_on, within_s=5, equal_within_s=60, afterwards=(checks.replicas_become_equal,),
    ),
    Fault(
        "region-cut",
        "When a region is cut off for 60 s, the larger side goes on within 15 s, the cut side keeps everything in its "
        "spools and never elects, and both hold the same within 60 s of the heal.",
        inject=acts.cut_region, heal=acts.heal_links, held_s=60, equal_within_s=60,
        recovered=checks.others_go_on, within_s=15,
        meanwhile=(checks.the_cut_side_says_so,),
        afterwards=(checks.the_spools_are_empty, checks.replicas_become_equal, checks.the_cut_side_never_led),
    ),
    Fault(
        "cascade",
        "When a ClickHouse server and an ingest node die while the Redis primary is being replaced, the others go on "
        "within 5 s.",
        inject=acts.cascade, heal=acts.start_until_ready, held_s=6, copies=2,
        recovered=checks.others_go_on, within_s=5, afterwards=(checks.replicas_become_equal,),
    ),
)  # fmt: skip
