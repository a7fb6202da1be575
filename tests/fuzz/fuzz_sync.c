/* Locks, semaphores, events, barriers, conditions, parking and who is alive: their words are damaged, and nobody waits
 * longer than he asked to. */
#include "kit.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/parking.h"
#include "sync/semaphore.h"
#include "sys/clock.h"

#define OPERATIONS_MAX 100
#define RECORDS 8u
#define OBJECTS_OFF FMP_HEAP_OFF

struct objects {
    FMP_ALIGNED struct fmp_lock_shm lock;
    struct fmp_semaphore_shm semaphore;
    struct fmp_barrier_shm barrier;
    struct fmp_event_shm event;
    FMP_ALIGNED char condition[FMP_CONDITION_BYTES(RECORDS)];
};

static struct fmp_region region;
static struct objects *objects;
static char participants[4096]; /* the first of them, as they were */

static void
make(void)
{
    if (region.base == NULL) {
        FUZZ_CHECK(fmp_region_create(&region, FMP_REGION_SIZE_MIN) == 0);
        FUZZ_CHECK(fmp_participant_join(&region) == 0);
        objects = fmp_at(&region, OBJECTS_OFF);
        memcpy(participants, fmp_at(&region, FMP_PARTICIPANTS_OFF), sizeof participants);
    }
    memcpy(fmp_at(&region, FMP_PARTICIPANTS_OFF), participants, sizeof participants);
    memset(objects, 0, sizeof *objects);
    memset(fmp_at(&region, FMP_PARKING_OFF), 0, FMP_PARKING_BYTES);
    fmp_semaphore_init(&objects->semaphore, 1, 3);
}

static bool
never(void *ctx)
{
    (void)ctx;
    return false;
}

static void
use_lock(void)
{
    struct fmp_lock_waiter w = {.shm = &objects->lock, .region = &region};
    if (fmp_lock_acquire(&w, sys_now_ns()) >= 0) {
        (void)fmp_lock_release(&objects->lock);
    }
}

static void
use_semaphore(void)
{
    struct fmp_spin spin = {0};
    (void)fmp_semaphore_acquire(&objects->semaphore, sys_now_ns(), &spin);
    (void)fmp_semaphore_release(&objects->semaphore);
}

static void
use_barrier(struct fuzz_input *in)
{
    struct fmp_barrier_waiter w = {
        .shm = &objects->barrier, .region = &region, .parties = 2, .acts = fuzz_take(in, 1) % 2 == 0};
    switch (fmp_barrier_arrive(&w)) {
    case FMP_BARRIER_ACTS:
        (void)fmp_barrier_trip(&w);
        break;
    case FMP_BARRIER_WAITS:
        if (fuzz_take(in, 1) % 2 == 0) {
            fmp_barrier_withdraw(&w);
        } else {
            (void)fmp_barrier_wait(&w, sys_now_ns());
        }
        break;
    default:
        fmp_barrier_reset(&objects->barrier, &region);
    }
    FUZZ_CHECK(fmp_barrier_waiting(&objects->barrier, 2) <= FMP_BARRIER_PARTIES_MAX);
    if (fuzz_take(in, 1) % 8 == 0) {
        fmp_barrier_abort(&objects->barrier);
    }
}

static void
use_condition(struct fuzz_input *in)
{
    struct fmp_condition c = {
        .shm = (struct fmp_condition_shm *)objects->condition, .region = &region, .records = RECORDS};
    struct fmp_condition_waiter w = {.condition = &c};
    if (fmp_condition_enlist(&w) == 0) {
        if (fuzz_take(in, 1) % 2 == 0) {
            (void)fmp_condition_notify(&c, (unsigned)fuzz_take(in, 1));
        }
        if (fuzz_take(in, 1) % 2 == 0) {
            fuzz_damage(in, objects->condition, sizeof objects->condition / 8);
        }
        int rc = fmp_condition_sleep(&w, sys_now_ns());
        if (rc == 0) {
            fmp_condition_leave(&w);
        } else if (rc == -EINTR) {
            fmp_condition_cancel(&w);
        }
    }
    FUZZ_CHECK(fmp_condition_waiting(&c) + fmp_condition_notified(&c) <= RECORDS);
}

static void
use_parking(struct fuzz_input *in)
{
    struct fmp_spin spin = {0};
    fmp_off off = fuzz_take(in, 8);
    struct fmp_ec_shm *ec = fmp_parking_enter(&region, off);
    FUZZ_CHECK(fmp_region_holds(&region, fmp_off_of(&region, ec), sizeof *ec));
    (void)fmp_ec_await(ec, never, NULL, sys_now_ns(), &spin);
    fmp_parking_notify(&region, off, (int)fuzz_take(in, 1));
}

static void
ask_who_lives(struct fuzz_input *in)
{
    uint32_t id = (uint32_t)fuzz_take(in, 3);
    (void)fmp_participant_fate(&region, id);
    (void)fmp_participant_pid(&region, id);
    (void)fmp_participant_in_slot(&region, id % FMP_PARTICIPANTS_MAX);
    (void)fmp_participant_orphan_in_slot(&region, id % FMP_PARTICIPANTS_MAX);
    id = fmp_participant_reserve(&region);
    if (id != 0) {
        fmp_participant_unreserve(&region, id);
    }
}

static void
operate(struct fuzz_input *in)
{
    switch (fuzz_take(in, 1) % 9) {
    case 0:
        fuzz_damage(in, objects, sizeof *objects / 8);
        break;
    case 1:
        fuzz_damage(in, fmp_at(&region, FMP_PARTICIPANTS_OFF), sizeof participants / 8);
        break;
    case 2:
        fuzz_damage(in, fmp_at(&region, FMP_PARKING_OFF), FMP_PARKING_BYTES / 8);
        break;
    case 3:
        use_lock();
        break;
    case 4:
        use_semaphore();
        break;
    case 5:
        use_barrier(in);
        break;
    case 6:
        use_condition(in);
        break;
    case 7:
        use_parking(in);
        break;
    default:
        ask_who_lives(in);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make();
    fuzz_run(data, size, OPERATIONS_MAX, operate);
    return 0;
}
