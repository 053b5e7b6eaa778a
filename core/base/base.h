/* base.h - what every file of the core may use: freestanding headers, small macros, assertions, relaxed atomics.
 *
 * The core compiles with -ffreestanding and links with nothing.  In the one-object build (samara.c) every function
 * marked SAMARA_INTERNAL is static, so an embedder's link sees no name that does not begin with samara_; the separate
 * build, which the tests use, gives them hidden visibility.
 */
#ifndef SAMARA_CORE_BASE_H
#define SAMARA_CORE_BASE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef SAMARA_ONE_OBJECT
#define SAMARA_INTERNAL static __attribute__((unused))
#else
#define SAMARA_INTERNAL __attribute__((visibility("hidden")))
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* SAMARA_CHECK: 0 none, 1 local assertions, 2 the whole structure after every change. */
#ifndef SAMARA_CHECK
#define SAMARA_CHECK 1
#endif
#if SAMARA_CHECK >= 1
#define ASSERT(cond) do { if (UNLIKELY(!(cond))) __builtin_trap(); } while (0)
#else
#define ASSERT(cond) do { (void)sizeof(cond); } while (0)
#endif

/* A place where others may come in between: a lock was just given back, or something was found that is not held yet.
 * tests/branch builds the core with SAMARA_EXPLORE and runs every other operation at every such place. */
#ifdef SAMARA_EXPLORE
void samara_explore_point(void);
#define OTHERS_MAY_COME() samara_explore_point()
#else
#define OTHERS_MAY_COME() ((void)0)
#endif

/* Fields that a reader without a lock may look at while one writer changes them.  Plain moves on every machine. */
#define LOAD(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define STORE(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define STORE_RELEASE(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)

/* gcc and clang may call these even in freestanding code; the compiler expands the sizes we use inline. */
static inline void *zero_bytes(void *memory, size_t bytes)
{
	return __builtin_memset(memory, 0, bytes);
}

static inline size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static inline void *copy_bytes(void *to, const void *from, size_t bytes)
{
	return __builtin_memcpy(to, from, bytes);
}

/* A page's worth.  The size is hidden from the compiler, which would expand a string instruction; the platform's memset
 * knows its processor better. */
static inline void zero_page(void *page)
{
	size_t bytes = 4096;

	__asm__("" : "+r"(bytes));
	zero_bytes(page, bytes);
}

/* Bytes of a page that somebody else may write meanwhile: another mapping, write(2) on its file, whoever has it pinned.
 * As on hardware, who reads beside a writer gets some of each.  To TSan, and only for it, these moves are atomic word
 * by word; a race for anything else stays one. */
#if defined(__SANITIZE_THREAD__)
#define GUEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GUEST_TSAN 1
#endif
#endif

#ifdef GUEST_TSAN
/* from NULL: zeroes */
static inline void guest_move(uint8_t *to, const uint8_t *from, size_t bytes)
{
	size_t step, i;

	for (i = 0; i < bytes; i += step) {
		step = ((uintptr_t)(to + i) | (uintptr_t)(from ? from + i : to)) & 7 || bytes - i < 8 ? 1 : 8;
		if (step == 8)
			STORE(*(uint64_t *)(void *)(to + i), from ? LOAD(*(const uint64_t *)(const void *)(from + i)) : 0);
		else
			STORE(to[i], from ? LOAD(from[i]) : (uint8_t)0);
	}
}
#endif

static inline void guest_copy(void *to, const void *from, size_t bytes)
{
#ifdef GUEST_TSAN
	guest_move(to, from, bytes);
#else
	__builtin_memcpy(to, from, bytes);
#endif
}

static inline void guest_zero(void *to, size_t bytes)
{
#ifdef GUEST_TSAN
	guest_move(to, NULL, bytes);
#else
	__builtin_memset(to, 0, bytes);
#endif
}

/* As zero_page: the locked operation that follows waits for every store. */
static inline void guest_copy_page(void *to, const void *from)
{
	size_t bytes = 4096;

	__asm__("" : "+r"(bytes));
	guest_copy(to, from, bytes);
}

#endif
