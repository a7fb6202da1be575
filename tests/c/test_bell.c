/* The doorbell on a real socket pair and a real pipe: rings and hushes, streams between processes, kills at each step.
 */
#include "sync_kit.h"

#include "sync/bell.h"
#include "sys/io.h"

struct shared {
    struct fmp_bell_shm bell;
    FMP_ALIGNED _Atomic uint32_t messages; /* stands for the ring */
};

static struct shared *s;
static struct fmp_bell reader, writer;

static bool
pending(void *ctx)
{
    (void)ctx;
    return fmp_load_acquire(&s->messages) != 0;
}

static void
open_bell(bool is_socket)
{
    int fds[2];
    s = kit_open();
    CHECK_OK(is_socket ? sys_socketpair(fds) : sys_pipe(fds));
    CHECK_OK(sys_put_byte(fds[1], is_socket));
    reader = (struct fmp_bell){.shm = &s->bell, .region = &kit_region, .fd = fds[0], .is_socket = is_socket};
    writer = (struct fmp_bell){.shm = &s->bell, .region = &kit_region, .fd = fds[1], .is_socket = is_socket};
}

static void
close_bell(void)
{
    sys_close(reader.fd);
    sys_close(writer.fd);
    kit_close();
}

static bool
is_readable_within(uint64_t ms)
{
    struct pollfd p = {.fd = reader.fd, .events = POLLIN};
    return sys_poll_until(&p, 1, ms == 0 ? 0 : kit_in_ms(ms)) == 1;
}

static int
publish_and_ring(void)
{
    fmp_fetch_add_seq_cst(&s->messages, 1);
    fmp_fence_seq_cst();
    return fmp_bell_ring(&writer, pending, NULL);
}

static void
take(void)
{
    fmp_fetch_add_seq_cst(&s->messages, (uint32_t)-1);
    fmp_fence_seq_cst();
}

static void
follow_messages(void)
{
    CHECK(is_readable_within(0)); /* RUNG from the beginning */
    CHECK(!fmp_bell_hush(&reader, pending, NULL));
    CHECK(!is_readable_within(0));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(publish_and_ring());
        CHECK_OK(publish_and_ring());
        CHECK(is_readable_within(0));
        take();
        CHECK(fmp_bell_hush(&reader, pending, NULL));
        CHECK(is_readable_within(0));
        take();
        CHECK(!fmp_bell_hush(&reader, pending, NULL));
        CHECK(!is_readable_within(0));
    }
}

static void
test_readable_beside_messages_only(void)
{
    open_bell(true);
    follow_messages();
    close_bell();
}

static void
test_the_same_on_a_pipe(void)
{
    open_bell(false);
    follow_messages();
    close_bell();
}

static void
test_no_ring_for_a_message_that_was_taken(void)
{
    open_bell(true);
    fmp_bell_hush(&reader, pending, NULL);
    CHECK_OK(fmp_bell_ring(&writer, pending, NULL)); /* published and taken before the sender came to ring */
    CHECK(!is_readable_within(0));
    CHECK_OK(publish_and_ring());
    CHECK(is_readable_within(0));
    close_bell();
}

static void
test_nobody_hears(void)
{
    open_bell(true);
    fmp_bell_hush(&reader, pending, NULL);
    sys_close(reader.fd);
    CHECK_EQ(publish_and_ring(), -EPIPE);
    sys_close(writer.fd);
    kit_close();
}

static void
test_removed_once(void)
{
    open_bell(true);
    fmp_bell_remove(&reader);
    fmp_bell_remove(&reader);
    CHECK(!is_readable_within(0));
    CHECK_OK(sys_put_byte(writer.fd, true)); /* not ours: it stays */
    fmp_bell_remove(&reader);
    CHECK(is_readable_within(0));
    close_bell();
}

/* ---- two processes ---- */

#define STREAM 20000

static void
send_stream(void *arg)
{
    (void)arg;
    for (int i = 0; i < STREAM; i++) {
        (void)publish_and_ring();
    }
}

static void
test_sleeping_reader_hears_every_stream(void)
{
    open_bell(true);
    pid_t pid = kit_spawn(send_stream, NULL);
    for (int got = 0; got < STREAM;) {
        if (pending(NULL)) {
            take();
            got++;
        } else if (!fmp_bell_hush(&reader, pending, NULL)) {
            CHECK(is_readable_within(10000)); /* no re-check period: a lost ring fails here */
        }
    }
    kit_join(pid);
    close_bell();
}

static void
test_select_loop_is_never_woken_in_vain(void)
{
    open_bell(true);
    fmp_bell_hush(&reader, pending, NULL);
    pid_t pid = kit_spawn(send_stream, NULL);
    for (int got = 0; got < STREAM; got++) {
        CHECK(is_readable_within(10000));
        CHECK(pending(NULL));
        take();
        (void)fmp_bell_hush(&reader, pending, NULL);
    }
    kit_join(pid);
    CHECK(!is_readable_within(0));
    close_bell();
}

/* ---- kills ---- */

static void
send_one(void *arg)
{
    (void)arg;
    (void)publish_and_ring();
}

/* A sender dies on his way; what he published is found at the next look, and the next sender's ring is heard. */
static void
kill_a_sender(const char *point)
{
    open_bell(true);
    fmp_bell_hush(&reader, pending, NULL);
    pid_t victim = kit_spawn_victim(send_one, NULL, point, 1);
    CHECK_KILLED(victim, SIGKILL);
    CHECK(pending(NULL));
    take();
    for (int i = 0; i < 3 && (fmp_bell_hush(&reader, pending, NULL), is_readable_within(0)); i++) {
        fmp_bell_heal(&reader);
    }
    CHECK(!is_readable_within(0));
    CHECK_OK(publish_and_ring());
    CHECK(is_readable_within(0));
    take();
    CHECK(!fmp_bell_hush(&reader, pending, NULL));
    CHECK(!is_readable_within(0));
    close_bell();
}

static void
test_sender_killed_before_the_byte(void)
{
    kill_a_sender("bell:ringing");
}

static void
test_sender_killed_after_the_byte(void)
{
    kill_a_sender("bell:put");
}

static void
hush(void *arg)
{
    (void)arg;
    fmp_bell_hush(&reader, pending, NULL);
}

/* A reader dies in his hush; another one of the same end goes on. */
static void
kill_a_reader(const char *point)
{
    open_bell(true);
    pid_t victim = kit_spawn_victim(hush, NULL, point, 1);
    CHECK_KILLED(victim, SIGKILL);
    CHECK(!fmp_bell_hush(&reader, pending, NULL));
    CHECK(!is_readable_within(0));
    CHECK_OK(publish_and_ring());
    CHECK(is_readable_within(0));
    close_bell();
}

static void
test_reader_killed_before_he_took_the_byte(void)
{
    kill_a_reader("bell:taking");
}

static void
test_reader_killed_after_he_took_the_byte(void)
{
    kill_a_reader("bell:taken");
}

static void
test_a_sender_takes_over_from_a_killed_reader(void)
{
    open_bell(true);
    pid_t victim = kit_spawn_victim(hush, NULL, "bell:taking", 1);
    CHECK_KILLED(victim, SIGKILL);
    CHECK_OK(publish_and_ring()); /* two bytes now, one of them the dead reader's */
    take();
    CHECK(!fmp_bell_hush(&reader, pending, NULL));
    CHECK(is_readable_within(0));
    fmp_bell_heal(&reader);
    CHECK(!is_readable_within(0));
    CHECK_OK(publish_and_ring());
    CHECK(is_readable_within(0));
    close_bell();
}

int
main(int argc, char **argv)
{
    CHECK_INIT(argc, argv);
    RUN(test_readable_beside_messages_only);
    RUN(test_the_same_on_a_pipe);
    RUN(test_no_ring_for_a_message_that_was_taken);
    RUN(test_nobody_hears);
    RUN(test_removed_once);
    RUN(test_sleeping_reader_hears_every_stream);
    RUN(test_select_loop_is_never_woken_in_vain);
    RUN(test_sender_killed_before_the_byte);
    RUN(test_sender_killed_after_the_byte);
    RUN(test_reader_killed_before_he_took_the_byte);
    RUN(test_reader_killed_after_he_took_the_byte);
    RUN(test_a_sender_takes_over_from_a_killed_reader);
    return check_done();
}
