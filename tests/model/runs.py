"""What `make model` checks: each model at several sizes, and each of its broken variants, which must fail."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One search through all states of one model."""

    model: str
    what: str
    defines: str = ""
    cycles: bool = False
    """Look for cycles without progress, too."""
    large: bool = False
    """So many states that the compiler's optimisation, which takes many seconds, pays."""

    @property
    def is_broken(self) -> bool:
        return "BROKEN_" in self.defines


def broken(model: str, variant: str, defines: str = "", *, cycles: bool = False) -> Run:
    """A variant with one rule of the protocol left out: the search must find an error."""
    return Run(model, variant, f"BROKEN_{variant} {defines}".strip(), cycles)


# The longest first, so that the last of them does not run alone.
RUNS = (
    Run("ring", "maxsize 1, 1 crash", "BOUND=1", large=True),
    Run("ring", "2 laps, 2 crashes", "CRASHES=2", large=True),
    Run("ring", "2 laps, 1 crash", "CRASHES=1", large=True),
    Run("ring", "1 cell, 4 laps, 1 crash", "CAP=1", large=True),
    Run("ring", "2 laps", "CRASHES=0"),
    Run("ring", "maxsize 2", "BOUND=2 CRASHES=0"),
    Run("ring", "maxsize 1, 2 crashes", "BOUND=1 MSGS=1 CRASHES=2"),
    Run("ring", "cancelled pushes, 2 crashes", "CANCEL BOUND=1 MSGS=1 CRASHES=2"),
    Run("ring", "no livelock", "MSGS=1", cycles=True),
    Run("ring", "no livelock, maxsize 1", "MSGS=1 BOUND=1", cycles=True),
    broken("ring", "RECOVER_SAME_LAP"),
    broken("ring", "HELP_ADD"),
    broken("ring", "NO_RECOVERY"),
    broken("ring", "NO_HELP"),
    broken("ring", "TAKE_WITHOUT_CAS"),
    broken("ring", "BOUND", "BOUND=1"),
    broken("ring", "BOUND_NO_LOOK", "BOUND=1 CRASHES=2"),
    Run("eventcount", "3 waiters", "WAITERS=3 CRASHES=0 SPURIOUS=0", large=True),
    Run("eventcount", "3 waiters, 1 crash", "WAITERS=3 NOTIFIERS=1 POSTS=2"),
    Run("eventcount", "2 waiters", "CRASHES=0"),
    Run("eventcount", "2 waiters, 1 crash", "CRASHES=1"),
    Run("eventcount", "2 waiters, 2 crashes", "CRASHES=2"),
    Run("eventcount", "1 notifier, 4 posts", "CRASHES=0 NOTIFIERS=1 POSTS=4"),
    broken("eventcount", "NO_FENCE", "CRASHES=0"),
    broken("eventcount", "CHECK_BEFORE_REGISTER", "CRASHES=0"),
    broken("eventcount", "HEAL_WITHOUT_WAKE", "CRASHES=0"),
    broken("eventcount", "HEAL_KEEPS_SEQ", "CRASHES=0"),
    broken("eventcount", "LEAVE_ANY_GENERATION"),
    broken("eventcount", "NO_RECHECK_PERIOD"),
    Run("wakeups", "2 of each", "COUNT=2"),
    Run("wakeups", "3 of each", "COUNT=3"),
    Run("wakeups", "a row of 2 beside one more", "COUNT=3 ROW"),
    broken("wakeups", "ALWAYS_WAKE_ONE"),
    broken("wakeups", "ROW_WITHOUT_LAST_WAKE", "ROW"),
    Run("lock", "no crash", "CRASHES=0"),
    Run("lock", "1 crash", "CRASHES=1"),
    Run("lock", "2 crashes", "CRASHES=2"),
    Run("lock", "exit while holding", "CLEAN=1 CRASHES=0"),
    Run("lock", "exit while holding, 1 crash", "CLEAN=1"),
    Run("lock", "somebody enters again", "ROUNDS=1", cycles=True),
    broken("lock", "WOKEN_GIVES_UP", "CRASHES=0"),
    broken("lock", "WOKEN_FORGETS_OTHERS", "CRASHES=0"),
    broken("lock", "TAKE_OVER_WITHOUT_CAS"),
    broken("lock", "NO_TAKE_OVER", "ROUNDS=1", cycles=True),
    broken("lock", "CLEAN_IS_KILLED", "CLEAN=1 CRASHES=0"),
    Run("condition", "3 waiters, 2 crashes", "CRASHES=2", large=True),
    Run("condition", "3 waiters, 1 crash", "CRASHES=1", large=True),
    Run("condition", "3 waiters, 2 notifications", "CRASHES=0 NOTIFIES=2", large=True),
    Run("condition", "3 waiters, 1 gives up", "CRASHES=0 GIVE_UPS=1", large=True),
    Run("condition", "2 waiters, gives up, 1 crash", "WAITERS=2 GIVE_UPS=1 NOTIFIES=2"),
    broken("condition", "NO_ANNOUNCEMENT", "CRASHES=0"),
    broken("condition", "CANCEL_KEEPS", "CRASHES=0 GIVE_UPS=1"),
    broken("condition", "FREE_BEFORE_REDELIVERY", "CRASHES=2"),
    Run("barrier", "no crash", "CRASHES=0"),
    Run("barrier", "1 crash", "CRASHES=1"),
    Run("barrier", "2 crashes", "CRASHES=2"),
    Run("barrier", "aborted, 1 crash", "ABORT CRASHES=1"),
    broken("barrier", "NO_LOOK_AT_ACTOR"),
    broken("barrier", "ARRIVE_WITHOUT_CAS", "CRASHES=0"),
    broken("barrier", "TRIP_WITHOUT_CAS", "ABORT CRASHES=0"),
    Run("holders", "2 reclaimers, 2 crashes", "CRASHES=2 RECLAIMERS=2"),
    Run("holders", "1 crash", "CRASHES=1"),
    Run("holders", "no crash", "CRASHES=0"),
    broken("holders", "NO_BUMP", "CRASHES=0"),
    broken("holders", "BUMP_BEFORE_HOLD", "CRASHES=0"),
    broken("holders", "SCAN_BEFORE_CLEAR", "CRASHES=0"),
    broken("holders", "RECLAIM_WITHOUT_BUMP"),
    broken("holders", "ONLY_IF_HELD"),
    Run("parcels", "2 reclaimers, 2 crashes", "CRASHES=2 RECLAIMERS=2", large=True),
    Run("parcels", "3 processes", "NPROC=3 CRASHES=0"),
    Run("parcels", "3 parcels", "PARCELS=3 SENDS=3 CRASHES=0"),
    Run("parcels", "1 crash", "CRASHES=1"),
    Run("parcels", "no crash", "CRASHES=0"),
    broken("parcels", "OPEN_WITHOUT_BUMP", "CRASHES=0"),
    broken("parcels", "OPEN_BEFORE_TAKING", "CRASHES=0"),
    broken("parcels", "FREE_BEFORE_HOLD", "CRASHES=0"),
    broken("parcels", "FREE_WITHOUT_TAKING", "CRASHES=0"),
    broken("parcels", "MADE_LATE"),
    broken("parcels", "RETURNED_EARLY", "CRASHES=0"),
    broken("parcels", "NO_LOOK_AFTER", "CRASHES=0"),
    broken("parcels", "NO_LOOK_AT_DEATH"),
    Run("block", "2 x 2 messages, 1 crash", "CONSUMERS=2 MSGS=2 ON_DEAD CELLS_NOT_FIRST"),
    Run("block", "2 x 1 message, 2 crashes", "CONSUMERS=2 CRASHES=2 ON_DEAD CELLS_NOT_FIRST"),
    Run("block", "2 reclaimers, 2 crashes", "PRODUCERS=1 RECLAIMERS=2 CRASHES=2 ON_DEAD CELLS_NOT_FIRST"),
    Run("block", "no crash", "CONSUMERS=2 MSGS=2 CRASHES=0"),
    Run("block", "cells first, 1 crash", "MSGS=2"),
    Run("block", "cells first, receive, 1 crash", "MSGS=2 ON_DEAD"),
    broken("block", "RECEIVE_ANY_POSITION", "ON_DEAD MSGS=2 PRODUCERS=1 CONSUMERS=2"),
    broken("block", "CELLS_NOT_FIRST"),
    broken("block", "TAKEN_IS_GONE"),
    broken("block", "SEND_AFTER_PUBLISH"),
    broken("block", "EMPTY_BEFORE_RECEIVE"),
    Run("side", "2 makers, 2 crashes"),
    Run("side", "3 makers, 2 crashes", "MAKERS=3"),
    broken("side", "NAME_FIRST"),
    broken("side", "LOOK_FIRST"),
    Run("bell", "2 senders, 4 messages", "MSGS=2", large=True),
    Run("bell", "2 readers", "READERS=2 SENDERS=1"),
    Run("bell", "2 readers, 1 crash", "READERS=2 SENDERS=1 CRASHES=1"),
    Run("bell", "2 senders, 1 crash", "CRASHES=1"),
    Run("bell", "select loop, 1 crash", "WATCH CRASHES=1"),
    Run("bell", "2 readers, 2 crashes", "READERS=2 SENDERS=1 CRASHES=2"),
    Run("bell", "2 senders, 2 crashes", "CRASHES=2"),
    Run("bell", "select loop", "WATCH"),
    Run("bell", "select loop, 2 crashes", "WATCH CRASHES=2"),
    Run("bell", "renewed", "RENEW"),
    Run("bell", "renewed, select loop", "RENEW WATCH"),
    Run("bell", "renewed, 2 readers", "RENEW READERS=2 SENDERS=1"),
    Run("bell", "renewed, 2 readers, 1 crash", "RENEW READERS=2 SENDERS=1 CRASHES=1"),
    Run("bell", "renewed, select loop, 1 crash", "RENEW WATCH CRASHES=1"),
    broken("bell", "RENEW_WITHOUT_A_LOOK", "RENEW WATCH"),
    broken("bell", "RING_ANY_GENERATION", "RENEW"),
    broken("bell", "NO_FENCE"),
    broken("bell", "CANCEL_WITHOUT_A_LOOK"),
    broken("bell", "LOOK_BEFORE_TAKING", "WATCH"),
    broken("bell", "TAKE_BEFORE_THE_LOOK", "WATCH"),
    broken("bell", "RING_WITHOUT_A_LOOK", "WATCH"),
    broken("bell", "LEAVE_A_RINGERS_BYTE", "WATCH"),
)
