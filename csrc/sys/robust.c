/* The list of robust futexes; see robust.h. */
#include "sys/robust.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The list's head, in the main thread's memory; what it is to hold. */
static struct robust_list_head *head;
static struct robust_list *pending;

/* Where the C library has no list yet (musl's has one once a robust mutex is used). */
static struct robust_list_head own = {.list = {&own.list}};

/* The main thread's head, as the kernel has it. 0 or -errno. */
static int
find_head(void)
{
    size_t bytes = 0;
    head = NULL;
    if (syscall(SYS_get_robust_list, getpid(), &head, &bytes) != 0) {
        head = NULL;
        return -errno;
    }
    if (head == NULL && (pid_t)syscall(SYS_gettid) == getpid()) {
        if (syscall(SYS_set_robust_list, &own, sizeof own) != 0) {
            return -errno;
        }
        head = &own;
        bytes = sizeof own;
    }
    if (head == NULL || bytes != sizeof *head) {
        head = NULL;
        return -ENOSYS;
    }
    return 0;
}

int
sys_tell_of_end(_Atomic uint32_t *word)
{
    int rc = word != NULL || head != NULL ? find_head() : 0;
    if (head != NULL) {
        pending = word != NULL ? (struct robust_list *)((char *)word - head->futex_offset) : NULL;
        head->list_op_pending = pending;
    }
    return rc;
}

void
sys_tell_of_end_still(void)
{
    if (head != NULL && head->list_op_pending == NULL) {
        head->list_op_pending = pending;
    }
}
