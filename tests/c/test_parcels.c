/* Parcels: a block lives as long as a message names it, whoever drops or ends, and no longer. */
#include "parcel_kit.h"

/* ---- in order ---- */

static void
test_sender_drops_first(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel = new_parcel(&me, block), target;
    CHECK_OK(fmp_parcel_send(me.heap, parcel, ring_off, 1));
    drop(&me, block);
    CHECK_EQ(fmp_heap_holders(me.heap, block), 0);
    CHECK_EQ(count().shared, 2);
    CHECK_OK(fmp_parcel_receive(you.heap, parcel, ring_off, 1));
    for (int i = 0; i < 2; i++) { /* as often as one likes */
        CHECK_OK(fmp_parcel_open(you.heap, parcel, &target));
        CHECK_EQ(target, block);
    }
    fmp_parcel_free(you.heap, parcel);
    CHECK_EQ(fmp_heap_holders(me.heap, block), 1);
    drop(&you, block);
    close_all();
}

static void
test_unopened_parcel_lets_go(void)
{
    open_all();
    fmp_off block = new_block(&me), first = new_parcel(&me, block), second = new_parcel(&me, block);
    CHECK_OK(fmp_parcel_send(me.heap, first, ring_off, 1));
    drop(&me, block);
    fmp_parcel_free(me.heap, second);
    CHECK_EQ(count().shared, 2);
    CHECK_OK(fmp_parcel_receive(you.heap, first, ring_off, 1));
    fmp_parcel_free(you.heap, first);
    close_all();
}

static void
test_parcel_of_a_block_in_use_changes_nothing(void)
{
    open_all();
    fmp_off block = new_block(&me);
    fmp_parcel_free(me.heap, new_parcel(&me, block));
    CHECK_EQ(count().shared, 2);
    drop(&me, block);
    close_all();
}

static void
test_only_holders_make_parcels(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel;
    uint64_t ticket;
    CHECK_EQ(fmp_parcel_make(you.heap, block, &parcel, &ticket), -EINVAL);
    CHECK_EQ(fmp_parcel_make(me.heap, block + 64, &parcel, &ticket), -EINVAL);
    CHECK_EQ(fmp_parcel_make(me.heap, 0, &parcel, &ticket), -EINVAL);
    drop(&me, block);
    CHECK_EQ(fmp_parcel_make(me.heap, block, &parcel, &ticket), -EINVAL);
    close_all();
}

static void
test_other_blocks_are_no_parcels(void)
{
    open_all();
    fmp_off off, target;
    CHECK_OK(fmp_heap_alloc(me.heap, 64, &off));
    CHECK_EQ(fmp_parcel_open(me.heap, off, &target), -ENOENT);
    CHECK_EQ(fmp_parcel_send(me.heap, off, ring_off, 1), -EINVAL);
    fmp_parcel_free(me.heap, off);
    CHECK_EQ(count().owned, 1);
    CHECK_OK(fmp_heap_send(me.heap, off, ring_off, 1));
    CHECK_EQ(fmp_parcel_receive(you.heap, off, ring_off, 1), -EBADMSG);
    CHECK_OK(fmp_heap_receive(you.heap, off, ring_off, 1));
    fmp_heap_free(you.heap, off);
    close_all();
}

static void
test_only_the_owner_opens(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel = new_parcel(&me, block), target;
    CHECK_EQ(fmp_parcel_open(you.heap, parcel, &target), -ENOENT);
    CHECK_OK(fmp_parcel_send(me.heap, parcel, ring_off, 1));
    CHECK_EQ(fmp_parcel_open(you.heap, parcel, &target), -ENOENT);
    CHECK_EQ(fmp_parcel_receive(you.heap, parcel, ring_off, 2), -EBADMSG);
    CHECK_OK(fmp_parcel_receive(you.heap, parcel, ring_off, 1));
    fmp_parcel_free(me.heap, parcel);
    CHECK_OK(fmp_parcel_open(you.heap, parcel, &target));
    fmp_parcel_free(you.heap, parcel);
    CHECK_EQ(fmp_parcel_open(you.heap, parcel, &target), -ENOENT);
    drop(&me, block);
    drop(&you, block);
    close_all();
}

static void
test_loan_is_taken_once(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel, target;
    uint64_t ticket;
    CHECK_OK(fmp_parcel_make(me.heap, block, &parcel, &ticket));
    CHECK(fmp_parcel_is_loan(you.heap, parcel, ticket));
    drop(&me, block);
    CHECK_EQ(fmp_parcel_take(you.heap, parcel, ticket + 1), -ENOENT);
    CHECK_OK(fmp_parcel_take(you.heap, parcel, ticket));
    CHECK(!fmp_parcel_is_loan(you.heap, parcel, ticket));
    CHECK_EQ(fmp_parcel_take(me.heap, parcel, ticket), -ENOENT);
    CHECK_OK(fmp_parcel_open(you.heap, parcel, &target));
    fmp_parcel_free(you.heap, parcel);
    CHECK_EQ(fmp_parcel_take(me.heap, parcel, ticket), -ENOENT);
    drop(&you, block);
    close_all();
}

static void
test_loan_ends_with_its_maker(void)
{
    open_all();
    fmp_off block = new_block(&me), parcel;
    uint64_t ticket;
    CHECK_OK(fmp_parcel_make(me.heap, block, &parcel, &ticket));
    drop(&me, block);
    fmp_parcels_leave(you.heap);
    CHECK_EQ(count().shared, 2);
    fmp_parcels_leave(me.heap);
    CHECK_EQ(fmp_parcel_take(you.heap, parcel, ticket), -ENOENT);
    close_all();
}

/* A queue in a queue in a queue: the first drop frees all. */
static void
test_chain_of_rings(void)
{
    enum { N = 50 };
    open_all();
    fmp_off rings[N];
    for (int i = 0; i < N; i++) {
        CHECK_OK(fmp_heap_alloc_shared(me.heap, 4096, FMP_BLOCK_RING, &rings[i]));
        if (i > 0) {
            CHECK_OK(fmp_parcel_send(me.heap, new_parcel(&me, rings[i - 1]), rings[i], 1));
            drop(&me, rings[i - 1]);
        }
    }
    CHECK_EQ(count().shared, N + 1);
    drop(&me, rings[N - 1]);
    close_all();
}

static void
test_ring_in_itself(void)
{
    open_all();
    fmp_off ring;
    CHECK_OK(fmp_heap_alloc_shared(me.heap, 4096, FMP_BLOCK_RING, &ring));
    CHECK_OK(fmp_parcel_send(me.heap, new_parcel(&me, ring), ring, 1));
    CHECK_OK(fmp_parcel_send(me.heap, new_parcel(&me, ring), ring, 2));
    drop(&me, ring);
    close_all();
}

/* The table of parcels grows by chunks. */
static void
test_many(void)
{
    enum { N = 5000 };
    static fmp_off parcels[N];
    open_all();
    fmp_off block = new_block(&me);
    for (int i = 0; i < N; i++) {
        parcels[i] = new_parcel(&me, block);
    }
    drop(&me, block);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(count().shared, 2);
        fmp_parcel_free(me.heap, parcels[i]);
        i += i > 10 && i < N - 20 ? 9 : 0; /* the counting is what takes long */
    }
    fmp_parcels_leave(me.heap);
    close_all();
}

/* ---- damage ---- */

/* The list of the parcels' chunks leads back to itself: whoever looks through all parcels comes to an end. */
static void
test_a_list_without_an_end(void)
{
    open_all();
    fmp_off block = new_block(&me), first = new_parcel(&me, block), second = new_parcel(&me, block), target;
    CHECK_OK(fmp_parcel_send(me.heap, first, ring_off, 1));
    fmp_parcel_free(me.heap, second); /* made and returned differ: all are looked at */
    uint64_t chunk = (first - me.heap->chunks_off) / FMP_CHUNK_BYTES;
    fmp_store_relaxed(&fmp_chunk_at(me.heap, chunk)->next, (uint32_t)chunk + 1);
    drop(&me, block);
    CHECK_OK(fmp_parcel_receive(you.heap, first, ring_off, 1));
    CHECK_OK(fmp_parcel_open(you.heap, first, &target));
    fmp_parcel_free(you.heap, first);
    fmp_parcels_leave(you.heap);
    drop(&you, block);
    close_all();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_sender_drops_first);
    RUN(test_unopened_parcel_lets_go);
    RUN(test_parcel_of_a_block_in_use_changes_nothing);
    RUN(test_only_holders_make_parcels);
    RUN(test_other_blocks_are_no_parcels);
    RUN(test_only_the_owner_opens);
    RUN(test_loan_is_taken_once);
    RUN(test_loan_ends_with_its_maker);
    RUN(test_chain_of_rings);
    RUN(test_ring_in_itself);
    RUN(test_many);
    RUN(test_a_list_without_an_end);
    return check_done();
}
