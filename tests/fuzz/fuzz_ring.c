/* The ring: head, tail, state words and records are damaged between pushes and pops. */
#include "kit.h"
#include "ring/ring.h"

#define LIMIT 8
#define RING_OFF FMP_HEAP_OFF /* no heap here: the ring lies where it would begin */
#define OPERATIONS_MAX 200

static struct fmp_region region;
static struct fmp_ring ring;

static void
make(void)
{
    if (region.base == NULL) {
        FUZZ_CHECK(fmp_region_create(&region, FMP_REGION_SIZE_MIN) == 0);
        FUZZ_CHECK(fmp_participant_join(&region) == 0);
    }
    memset(fmp_at(&region, RING_OFF), 0, fmp_ring_bytes(LIMIT));
    FUZZ_CHECK(fmp_ring_init(fmp_at(&region, RING_OFF), LIMIT) == 0);
    FUZZ_CHECK(fmp_ring_open(&ring, &region, RING_OFF, fmp_ring_bytes(LIMIT)) == 0);
}

static void
check_ticket(const struct fmp_ring_ticket *t)
{
    FUZZ_CHECK(t->cell == &ring.shm->cells[t->position & (ring.capacity - 1)]);
}

static int
pop(void)
{
    struct fmp_ring_ticket t;
    int rc = fmp_ring_begin_pop(&ring, &t);
    if (rc == 0) {
        check_ticket(&t);
        fmp_ring_end_pop(&ring, &t);
    }
    return rc;
}

static int
push(bool cancel)
{
    struct fmp_ring_ticket t;
    int rc = fmp_ring_begin_push(&ring, &t);
    if (rc == 0) {
        check_ticket(&t);
        memset(&t.cell->record, 0x55, sizeof t.cell->record);
        if (cancel) {
            fmp_ring_cancel_push(&ring, &t);
        } else {
            fmp_ring_end_push(&ring, &t);
        }
    }
    return rc;
}

/* A waiter is told to look when there is something to see, and then it is there: he is not sent round and round. */
static void
wait_for_message(void)
{
    if (fmp_ring_may_pop(&ring) && fmp_ring_has_record(&ring)) {
        FUZZ_CHECK(pop() != -EAGAIN);
    }
}

static void
operate(struct fuzz_input *in)
{
    switch (fuzz_take(in, 1) % 10) {
    case 0:
        fuzz_damage(in, ring.shm, sizeof *ring.shm / sizeof(uint64_t));
        break;
    case 1:
        fuzz_damage(in, &ring.shm->cells[fuzz_take(in, 1) % ring.capacity], 1); /* a state word */
        break;
    case 2:
        fuzz_damage(in, ring.shm, fmp_ring_bytes(LIMIT) / sizeof(uint64_t));
        break;
    case 3:
        wait_for_message();
        break;
    case 4:
        (void)fmp_ring_may_push(&ring);
        (void)push(fuzz_take(in, 1) == 0);
        break;
    case 5:
        FUZZ_CHECK(fmp_ring_count(&ring) <= ring.limit);
        (void)fmp_ring_peek(&ring, fuzz_take(in, 8));
        (void)fmp_ring_carries(&ring, fuzz_take(in, 8));
        break;
    case 6:
        fmp_ring_recover(&ring, (uint32_t)fuzz_take(in, 3));
        break;
    case 7:
        (void)fmp_ring_open(&ring, &region, RING_OFF, fmp_ring_bytes(LIMIT));
        break;
    case 8:
        (void)pop();
        break;
    default:
        (void)push(false);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make();
    fuzz_run(data, size, OPERATIONS_MAX, operate);
    /* Whatever has been done to it, a reader comes to an end: with all that is there, or with errors. */
    for (uint64_t i = 0; i < 4 * ring.capacity && pop() != -EAGAIN; i++) {
    }
    return 0;
}
