/* Parking: words that share a place, words that do not, and who is woken. */
#include "sync_kit.h"

#include <limits.h>

#include "sync/parking.h"

#define PLACES (FMP_PARKING_BYTES / FMP_CACHELINE)

static int woken_with[4], wakes;

static int
record_wake(_Atomic uint32_t *word, int n)
{
    (void)word;
    woken_with[wakes++ % 4] = n;
    return 1;
}

/* Another word of the same place. */
static fmp_off
neighbour(fmp_off off)
{
    struct fmp_ec_shm *place = fmp_parking_enter(&kit_region, off);
    for (fmp_off other = off + 1;; other++) {
        if (fmp_parking_enter(&kit_region, other) == place) {
            return other;
        }
    }
}

static void
test_a_word_alone_in_its_place(void)
{
    kit_open();
    fmp_ec_os.wake = record_wake;
    struct fmp_ec_shm *ec = fmp_parking_enter(&kit_region, FMP_HEAP_OFF);
    CHECK(fmp_parking_enter(&kit_region, FMP_HEAP_OFF) == ec);
    fmp_parking_notify(&kit_region, FMP_HEAP_OFF, 3);
    CHECK_EQ(wakes, 0); /* nobody waits */
    ec->word++;
    fmp_parking_notify(&kit_region, FMP_HEAP_OFF, 3);
    CHECK_EQ(wakes, 1);
    CHECK_EQ(woken_with[0], 3);
    kit_close();
}

static void
test_words_that_share_a_place(void)
{
    kit_open();
    fmp_ec_os.wake = record_wake;
    struct fmp_ec_shm *ec = fmp_parking_enter(&kit_region, FMP_HEAP_OFF);
    fmp_off other = neighbour(FMP_HEAP_OFF);
    ec->word++;
    for (int i = 0; i < 2; i++) {
        fmp_parking_notify(&kit_region, i == 0 ? FMP_HEAP_OFF : other, 1);
        CHECK_EQ(woken_with[i], INT_MAX);
    }
    CHECK_EQ(wakes, 2);
    kit_close();
}

/* A waiter for another word comes while the wake-up is on its way, and may have swallowed it. */
static fmp_off newcomer;

static int
wake_as_another_comes(_Atomic uint32_t *word, int n)
{
    if (newcomer != 0) {
        fmp_parking_enter(&kit_region, newcomer)->word++;
        newcomer = 0;
    }
    return record_wake(word, n);
}

static void
test_another_word_comes_meanwhile(void)
{
    kit_open();
    struct fmp_ec_shm *ec = fmp_parking_enter(&kit_region, FMP_HEAP_OFF);
    newcomer = neighbour(FMP_HEAP_OFF);
    kit_close();
    kit_open(); /* a fresh table */
    fmp_ec_os.wake = wake_as_another_comes;
    ec = fmp_parking_enter(&kit_region, FMP_HEAP_OFF);
    ec->word++;
    fmp_parking_notify(&kit_region, FMP_HEAP_OFF, 1);
    CHECK_EQ(wakes, 2);
    CHECK_EQ(woken_with[0], 1);
    CHECK_EQ(woken_with[1], INT_MAX);
    kit_close();
}

static void
test_all_places_are_used(void)
{
    kit_open();
    bool used[PLACES] = {false};
    struct fmp_ec_shm *first = fmp_at(&kit_region, FMP_PARKING_OFF);
    for (fmp_off off = FMP_HEAP_OFF; off < FMP_HEAP_OFF + 8 * 16 * PLACES; off += 8) {
        size_t place = (size_t)((char *)fmp_parking_enter(&kit_region, off) - (char *)first) / FMP_CACHELINE;
        CHECK(place < PLACES);
        used[place] = true;
    }
    for (size_t i = 0; i < PLACES; i++) {
        CHECK(used[i]);
    }
    kit_close();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_a_word_alone_in_its_place);
    RUN(test_words_that_share_a_place);
    RUN(test_another_word_comes_meanwhile);
    RUN(test_all_places_are_used);
    return check_done();
}
