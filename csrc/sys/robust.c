/* The list of robust futexes; see robust.h. */
#include "sys/robust.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/process.h"

/* The list's head, in the main thread's memory; what it is to hold. */
static struct robust_list_head *head;
static struct robust_list *pending;

/* Where the C library has no list yet (musl's has one once a robust mutex is used). */
static struct robust_list_head own = {.list = {&own.list}};

/* The main thread's head, as the kernel has it. 0 or -errno. */
static int
find_head(void)
{
    struct robust_list_head *found = NULL;
    size_t bytes = 0;
    head = NULL;
    if (syscall(SYS_get_robust_list, getpid(), &found, &bytes) != 0) {
        return -errno;
    }
    if (found == NULL && sys_is_main_thread()) {
        found = &own;
        bytes = sizeof own;
        if (syscall(SYS_set_robust_list, found, bytes) != 0) {
            return -errno;
        }
    }
    if (found == NULL || bytes != sizeof *found) {
        return -ENOSYS;
    }
    head = found;
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
