/*
 * Forks, whoever makes them: what a child will hold, and who it is; see runtime.h. A child begins at once, or sleeps
 * without Python until it is needed (struct fmp_dormant).
 */
#include "pyrt/runtime_internal.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "pyrt/children.h"
#include "pyrt/handles.h"
#include "pyrt/newcomers.h"
#include "pyrt/wait.h"
#include "sync/death.h"
#include "sys/process.h"

unsigned fmp_fork_generation;

static void
hold_for_child(struct fmp_handle *h)
{
    if (h->space->child != 0 && fmp_handle_share(h) == 0) {
        fmp_heap_hold(h->space->heap, h->off, h->space->child);
    }
}

static void
notice_one(void)
{
    for (struct fmp_space *s = fmp_spaces; !fmp_rt.left && s != NULL; s = s->next) {
        fmp_space_notice_one(s);
    }
}

/* The fork that is under way is fmp_runtime_fork's, in this thread. */
static _Thread_local bool is_own;

/* No identity was left for the child: nothing is held for it. A fork of fastmp's fails then; of another one, which
 * cannot, the child gets an identity, or an error, when it uses a shared object. */
static bool is_bare;

static void
look_nowhere(bool is_before)
{
    (void)is_before;
}

static void (*look)(bool is_before) = look_nowhere;

void
fmp_runtime_look_before_forks(void (*function)(bool is_before))
{
    look = function;
}

/* Before fork: the child becomes a holder of everything that this process holds, so nothing can be freed under it. */
static void
before_fork(void)
{
    if (!fmp_rt.forks_dormant && Py_IsInitialized() && PyGILState_Check()) {
        notice_one(); /* the heap's hints want the GIL */
    }
    if (is_own) {
        look(true);
    }
    pthread_mutex_lock(&fmp_rt.mutex);
    is_bare = false;
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        bool is_used = !fmp_rt.left && s->region.me != 0;
        s->child = is_used ? fmp_participant_reserve(&s->region) : 0;
        is_bare |= is_used && s->child == 0;
    }
    fmp_handles_each(hold_for_child);
}

static void
after_fork_in_parent(void)
{
    pthread_mutex_unlock(&fmp_rt.mutex);
    if (is_own) {
        look(false);
    }
}

static void
after_fork_in_child(void)
{
    pthread_mutex_unlock(&fmp_rt.mutex);
    fmp_fork_generation++;
    fmp_children_forget();
    fmp_newcomers_after_fork();
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        s->region.me = 0;
        s->was_awaited = false; /* all that it holds it has a handle on */
        if (s->child != 0) {
            /* on failure the next use joins anew, or says why not */
            (void)(fmp_rt.forks_dormant ? fmp_participant_adopt_early : fmp_participant_adopt)(&s->region, s->child);
            fmp_death_watch(&s->region);
        }
        fmp_heap_after_fork(s->heap);
    }
    fmp_rt.forks_dormant = false;
}

/* The fork failed: nobody will ever be the child. Its bits are found by a walk, as handles may have gone since. */
static void
fork_failed(void)
{
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        if (s->child != 0) {
            (void)fmp_participant_mark_dead(&s->region, s->child);
            fmp_space_bury(s, s->child);
        }
    }
}

static void
write_down(pid_t pid)
{
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        if (s->child != 0) {
            fmp_participant_name_child(&s->region, s->child, pid, 0);
            (void)fmp_children_add(&(struct fmp_child){.pid = pid, .space = s, .id = s->child});
            fmp_space_bury_orphans(s, false);
        }
    }
}

/* The child, which ends by itself before anything of the user's runs in it, was not. */
static void
undo_bare(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    fork_failed();
}

/* os.fork as it is now, which may be another library's (gevent); `pythons` is as it was made. Both are borrowed; NULL
 * with an exception set. */
static PyObject *
find_fork(PyObject **pythons)
{
    static PyObject *os, *name, *original; /* kept for ever */
    if (original == NULL) {
        PyObject *posix = PyImport_ImportModule("posix");
        os = PyImport_ImportModule("os");
        name = PyUnicode_InternFromString("fork");
        original = posix != NULL && os != NULL && name != NULL ? PyObject_GetAttr(posix, name) : NULL;
        Py_XDECREF(posix);
    }
    *pythons = original;
    PyObject *fork = original != NULL ? PyDict_GetItemWithError(PyModule_GetDict(os), name) : NULL;
    if (fork == NULL && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_AttributeError, "module 'os' has no attribute 'fork'");
    }
    return fork;
}

/* All that Python's os.fork does before 3.12, when it began to warn of threads. */
static pid_t
fork_as_python(void)
{
    if (PySys_Audit("os.fork", NULL) < 0) {
        return -1;
    }
    PyOS_BeforeFork();
    pid_t pid = fork();
    int error = errno;
    if (pid == 0) {
        PyOS_AfterFork_Child();
        return 0;
    }
    PyOS_AfterFork_Parent();
    if (pid < 0) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return pid;
}

/* os.fork, bracketed, audited and warned of as the user expects. The pid, 0, or -1 with an exception set. */
static pid_t
call_fork(void)
{
    PyObject *pythons, *now = find_fork(&pythons);
    if (now == pythons && PY_VERSION_HEX < 0x030C0000 && PyInterpreterState_Get() == PyInterpreterState_Main()) {
        return now != NULL ? fork_as_python() : -1;
    }
    PyObject *result = now != NULL ? PyObject_CallNoArgs(now) : NULL;
    pid_t pid = result != NULL ? (pid_t)PyLong_AsLong(result) : -1;
    Py_XDECREF(result);
    return pid;
}

/* As fmp_runtime_fork, and -EAGAIN, without an exception, if there was no identity for the child. */
static pid_t
fork_once(void)
{
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        s->child = 0; /* an audit hook may refuse the fork before our handler runs */
    }
    is_own = true;
    pid_t pid = call_fork();
    is_own = false;
    if (pid < 0) {
        fork_failed();
        return -1;
    }
    if (FMP_UNLIKELY(is_bare)) {
        if (pid == 0) {
            _exit(1);
        }
        undo_bare(pid);
        return -EAGAIN;
    }
    if (pid > 0) {
        write_down(pid);
    }
    return pid;
}

pid_t
fmp_runtime_fork(void)
{
    pid_t pid = fork_once();
    if (FMP_UNLIKELY(pid == -EAGAIN)) {
        for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
            fmp_space_sweep_dead(s); /* identities of the dead are nobody's */
        }
        pid = fork_once();
    }
    if (FMP_UNLIKELY(pid == -EAGAIN)) {
        fmp_py_raise(-EAGAIN, "too many processes use one fastmp region");
        pid = -1;
    }
    return pid;
}

/* What Python does about a fork, before and after, is the caller's business. The pid, 0, or -errno. */
static pid_t
fork_sibling(pid_t *told)
{
    before_fork();
    pid_t pid = is_bare ? -EAGAIN : sys_fork_sibling(told);
    if (pid == 0) {
        after_fork_in_child();
        return 0;
    }
    FMP_FAULT("runtime:sibling-forked"); /* nobody but the kernel has told the parent */
    after_fork_in_parent();
    if (pid < 0) {
        fork_failed();
        return pid;
    }
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        if (s->child != 0) {
            fmp_participant_name_child(&s->region, s->child, pid, 0);
        }
    }
    return pid;
}

/* In the child. Comes back in those that begin; as what. */
static int
be_dormant(const struct fmp_dormant *child)
{
    int me = child->wakes(child->ctx);
    if (me < 0) {
        fmp_runtime_leave();
        _exit(0);
    }
    for (struct fmp_space *s = fmp_spaces; s != NULL; s = s->next) {
        fmp_participant_tell_start(&s->region);
    }
    PyOS_AfterFork_Child();
    return me;
}

int
fmp_runtime_fork_dormant(const struct fmp_dormant *children, int count, pid_t *pids, int *me)
{
    if (PySys_Audit("os.fork", NULL) < 0) {
        return -1;
    }
    PyOS_BeforeFork();
    notice_one();
    look(true);
    fmp_rt.forks_dormant = true;
    int made = 0;
    for (; made < count; made++) {
        pids[made] = fork();
        if (pids[made] == 0) {
            if (FMP_UNLIKELY(is_bare)) {
                _exit(1);
            }
            *me = be_dormant(&children[made]);
            return 0;
        }
        if (pids[made] < 0) {
            fork_failed();
            break;
        }
        if (FMP_UNLIKELY(is_bare)) {
            undo_bare(pids[made]);
            break;
        }
        FMP_FAULT("runtime:forked"); /* the child exists and is not written down */
        write_down(pids[made]);
    }
    fmp_rt.forks_dormant = false;
    look(false);
    PyOS_AfterFork_Parent();
    return made;
}

pid_t
fmp_runtime_fork_dormant_sibling(pid_t *told)
{
    fmp_rt.forks_dormant = true;
    pid_t pid = fork_sibling(told);
    fmp_rt.forks_dormant = false;
    return pid;
}

pid_t
fmp_runtime_fork_sibling(pid_t *told)
{
    PyOS_BeforeFork();
    look(true);
    pid_t pid = fork_sibling(told);
    if (pid == 0) {
        PyOS_AfterFork_Child();
    } else {
        look(false);
        PyOS_AfterFork_Parent();
    }
    return pid;
}

static void
adopt_in(struct fmp_space *space, pid_t pid)
{
    for (uint32_t slot = 0; slot < FMP_PARTICIPANTS_MAX; slot++) {
        uint32_t id = fmp_participant_in_slot(&space->region, slot);
        if (id != 0 && fmp_participant_pid(&space->region, id) == pid) {
            (void)fmp_children_add(&(struct fmp_child){.pid = pid, .space = space, .id = id});
        }
    }
}

void
fmp_runtime_adopt(pid_t pid)
{
    for (struct fmp_space *s = fmp_rt.left ? NULL : fmp_spaces; s != NULL; s = s->next) {
        adopt_in(s, pid);
    }
}

void
fmp_runtime_reaped(pid_t pid)
{
    struct fmp_child child;
    while (fmp_children_take(pid, &child)) {
        if (fmp_rt.left) {
            continue;
        }
        bool killed = fmp_participant_is_killed(&child.space->region, child.id);
        if (killed) {
            fmp_space_bury(child.space, child.id);
        }
        fmp_space_bury_orphans(child.space, killed); /* it may have left some */
    }
}

int
fmp_runtime_watch_forks(void)
{
    return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
