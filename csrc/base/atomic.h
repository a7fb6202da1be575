/*
 * Atomics with the order in the name, on C11 _Atomic objects. Called by: every unit that shares memory.
 *
 * Every use that is not relaxed carries a label in a comment and names its partner; docs/memory-model.md has the table.
 * The words live in memory shared between processes, so each must be address-free: lock-free, of at most 8 bytes.
 */
#ifndef FMP_BASE_ATOMIC_H
#define FMP_BASE_ATOMIC_H

#include <stdatomic.h>

#include "base/attr.h"

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free to be shared between processes");

#define fmp_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define fmp_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define fmp_load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
#define fmp_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define fmp_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define fmp_store_seq_cst(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)

#define fmp_exchange_release(p, v) atomic_exchange_explicit((p), (v), memory_order_release)
#define fmp_exchange_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define fmp_exchange_seq_cst(p, v) atomic_exchange_explicit((p), (v), memory_order_seq_cst)

#define fmp_fetch_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define fmp_fetch_add_release(p, v) atomic_fetch_add_explicit((p), (v), memory_order_release)
#define fmp_fetch_add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define fmp_fetch_add_seq_cst(p, v) atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define fmp_fetch_sub_seq_cst(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_seq_cst)
#define fmp_fetch_or_seq_cst(p, v) atomic_fetch_or_explicit((p), (v), memory_order_seq_cst)
#define fmp_fetch_and_seq_cst(p, v) atomic_fetch_and_explicit((p), (v), memory_order_seq_cst)
#define fmp_fetch_xor_seq_cst(p, v) atomic_fetch_xor_explicit((p), (v), memory_order_seq_cst)
#define fmp_fetch_or_acq_rel(p, v) atomic_fetch_or_explicit((p), (v), memory_order_acq_rel)
#define fmp_fetch_and_acq_rel(p, v) atomic_fetch_and_explicit((p), (v), memory_order_acq_rel)

/* Strong compare-and-swap; on failure *expected holds the value seen, read relaxed unless the name says acquire. */
#define fmp_cas_relaxed(p, expected, desired) \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_relaxed, memory_order_relaxed)
#define fmp_cas_acquire(p, expected, desired) \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_acquire, memory_order_relaxed)
#define fmp_cas_release(p, expected, desired) \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_release, memory_order_relaxed)
#define fmp_cas_acq_rel(p, expected, desired) \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_acq_rel, memory_order_acquire)
#define fmp_cas_seq_cst(p, expected, desired) \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_seq_cst, memory_order_acquire)

/* The store-load fence that an event count's notifier needs between its condition and its look at the waiters. */
#define fmp_fence_seq_cst() atomic_thread_fence(memory_order_seq_cst)

/* Tell the core that this is a spin-wait. */
FMP_INLINE void
fmp_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif
