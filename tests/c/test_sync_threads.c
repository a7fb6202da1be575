/*
 * The same protocols between threads, each with an identity of its own: here the thread sanitizer can see that what was
 * written before a release is visible after the acquire it pairs with. All guarded data is plain memory.
 */
#include <limits.h>
#include <pthread.h>

#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/semaphore.h"
#include "sync_kit.h"

enum { THREADS = 3, ROUNDS = 3000, RECORDS = 8 };

struct shared {
    struct fmp_lock_shm lock;
    FMP_ALIGNED struct fmp_semaphore_shm semaphore;
    FMP_ALIGNED struct fmp_event_shm there, back;
    FMP_ALIGNED struct fmp_barrier_shm barrier;
    FMP_ALIGNED uint64_t guarded[THREADS]; /* plain */
    FMP_ALIGNED struct fmp_condition_shm condition;
};

struct player {
    pthread_t thread;
    struct shared *s;
    struct fmp_region region; /* the same memory under another identity */
    unsigned number;
    void (*body)(struct player *);
};

static void *
start(void *arg)
{
    struct player *p = arg;
    p->body(p);
    return NULL;
}

static void
play(struct shared *s, unsigned count, void (*body)(struct player *))
{
    struct player players[THREADS];
    for (unsigned i = 0; i < count; i++) {
        players[i] = (struct player){.s = s, .region = kit_region, .number = i, .body = body};
        CHECK_OK(fmp_participant_join(&players[i].region));
        CHECK_OK(pthread_create(&players[i].thread, NULL, start, &players[i]));
    }
    for (unsigned i = 0; i < count; i++) {
        CHECK_OK(pthread_join(players[i].thread, NULL));
        fmp_participant_leave(&players[i].region);
    }
}

static void
lock(struct player *p, struct fmp_lock_waiter *w)
{
    int rc;
    w->bits = 0;
    do {
        rc = fmp_lock_acquire(w, kit_in_ms(30000));
    } while (rc == -EINTR);
    CHECK_OK(rc);
    CHECK_EQ(fmp_lock_owner(&p->s->lock), p->region.me);
}

static struct fmp_lock_waiter
waiter(struct player *p)
{
    return (struct fmp_lock_waiter){.shm = &p->s->lock, .region = &p->region};
}

/* ---- lock ---- */

static void
count_under_lock(struct player *p)
{
    struct fmp_lock_waiter w = waiter(p);
    for (int i = 0; i < ROUNDS; i++) {
        if (!fmp_lock_spin(&w)) {
            lock(p, &w);
        }
        p->s->guarded[0]++;
        CHECK_OK(fmp_lock_release(&p->s->lock));
    }
}

static void
test_lock(void)
{
    struct shared *s = kit_open();
    play(s, THREADS, count_under_lock);
    CHECK_EQ(s->guarded[0], THREADS * ROUNDS);
    kit_close();
}

/* ---- semaphore of one unit ---- */

static void
count_under_semaphore(struct player *p)
{
    struct fmp_spin spin = {0};
    for (int i = 0; i < ROUNDS; i++) {
        int rc;
        do {
            rc = fmp_semaphore_acquire(&p->s->semaphore, kit_in_ms(30000), &spin);
        } while (rc == -EINTR);
        CHECK_OK(rc);
        p->s->guarded[0]++;
        CHECK_OK(fmp_semaphore_release(&p->s->semaphore));
    }
}

static void
test_semaphore(void)
{
    struct shared *s = kit_open();
    fmp_semaphore_init(&s->semaphore, 1, 1);
    play(s, THREADS, count_under_semaphore);
    CHECK_EQ(s->guarded[0], THREADS * ROUNDS);
    kit_close();
}

/* ---- two events, to and fro ---- */

static void
await(struct fmp_event_shm *event, struct fmp_spin *spin)
{
    struct fmp_event_waiter w = fmp_event_begin(event);
    int rc;
    do {
        rc = fmp_ec_await(&event->changed, fmp_event_passed, &w, kit_in_ms(30000), spin);
    } while (rc == -EINTR);
    CHECK_OK(rc);
    fmp_event_clear(event);
}

static void
throw_and_catch(struct player *p)
{
    struct fmp_spin spin = {0};
    struct fmp_event_shm *mine = p->number == 0 ? &p->s->there : &p->s->back;
    struct fmp_event_shm *other = p->number == 0 ? &p->s->back : &p->s->there;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        if (p->number == 1) {
            await(other, &spin);
        }
        CHECK_EQ(p->s->guarded[0], 2 * i + p->number);
        p->s->guarded[0]++;
        fmp_event_set(mine);
        if (p->number == 0) {
            await(other, &spin);
        }
    }
}

static void
test_event(void)
{
    struct shared *s = kit_open();
    play(s, 2, throw_and_catch);
    CHECK_EQ(s->guarded[0], 2 * ROUNDS);
    kit_close();
}

/* ---- condition: each in turn ---- */

static void
wait_once(struct player *p, struct fmp_condition *c, struct fmp_lock_waiter *lw)
{
    struct fmp_condition_waiter w = {.condition = c};
    CHECK_OK(fmp_condition_enlist(&w));
    CHECK_OK(fmp_lock_release(&p->s->lock));
    int rc;
    do {
        rc = fmp_condition_sleep(&w, kit_in_ms(30000));
    } while (rc == -EINTR);
    CHECK_OK(rc);
    lock(p, lw);
    fmp_condition_leave(&w);
}

static void
take_turns(struct player *p)
{
    struct fmp_condition c = {.shm = &p->s->condition, .region = &p->region, .records = RECORDS};
    struct fmp_lock_waiter w = waiter(p);
    lock(p, &w);
    for (int i = 0; i < ROUNDS / 4; i++) {
        while (p->s->guarded[0] % THREADS != p->number) {
            wait_once(p, &c, &w);
        }
        p->s->guarded[0]++;
        CHECK(fmp_condition_notify(&c, UINT_MAX) < THREADS);
    }
    CHECK_OK(fmp_lock_release(&p->s->lock));
}

static void
test_condition(void)
{
    struct shared *s = kit_open();
    play(s, THREADS, take_turns);
    CHECK_EQ(s->guarded[0], THREADS * (ROUNDS / 4));
    kit_close();
}

/* ---- barrier: what each wrote before it, all read after it ---- */

static void
pass(struct fmp_barrier_waiter *w)
{
    int rc;
    enum fmp_barrier_role role = fmp_barrier_arrive(w);
    CHECK(role == FMP_BARRIER_WAITS || role == FMP_BARRIER_PASSES);
    if (role == FMP_BARRIER_PASSES) {
        return;
    }
    do {
        rc = fmp_barrier_wait(w, kit_in_ms(30000));
    } while (rc == -EINTR);
    CHECK_OK(rc);
}

static void
write_and_read(struct player *p)
{
    struct fmp_barrier_waiter w = {.shm = &p->s->barrier, .region = &p->region, .parties = THREADS};
    for (uint64_t i = 1; i <= ROUNDS / 4; i++) {
        p->s->guarded[p->number] = i;
        pass(&w);
        for (int k = 0; k < THREADS; k++) {
            CHECK_EQ(p->s->guarded[k], i);
        }
        pass(&w);
    }
}

static void
test_barrier(void)
{
    struct shared *s = kit_open();
    play(s, THREADS, write_and_read);
    kit_close();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_lock);
    RUN(test_semaphore);
    RUN(test_event);
    RUN(test_condition);
    RUN(test_barrier);
    return check_done();
}
