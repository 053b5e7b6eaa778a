/* annotate.h - thread-safety annotations: clang checks them, every other compiler sees nothing.
 *
 * The contracts stand on functions and on guard values (see vma.h), never on fields of structs: that is
 * the part of clang's analysis that works for locks that are passed by value on the caller's stack.
 */
#ifndef SAMARA_ANNOTATE_H
#define SAMARA_ANNOTATE_H

#if defined(__clang__)
#define SAMARA_CAPABILITY(name) __attribute__((capability(name)))
#define SAMARA_ACQUIRE(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define SAMARA_ACQUIRE_SHARED(...) __attribute__((acquire_shared_capability(__VA_ARGS__)))
#define SAMARA_TRY_ACQUIRE(...) __attribute__((try_acquire_capability(__VA_ARGS__)))
#define SAMARA_TRY_ACQUIRE_SHARED(...) __attribute__((try_acquire_shared_capability(__VA_ARGS__)))
#define SAMARA_RELEASE(...) __attribute__((release_capability(__VA_ARGS__)))
#define SAMARA_RELEASE_SHARED(...) __attribute__((release_shared_capability(__VA_ARGS__)))
#define SAMARA_WRITES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define SAMARA_READS(...) __attribute__((requires_shared_capability(__VA_ARGS__)))
#define SAMARA_NO_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define SAMARA_CAPABILITY(name)
#define SAMARA_ACQUIRE(...)
#define SAMARA_ACQUIRE_SHARED(...)
#define SAMARA_TRY_ACQUIRE(...)
#define SAMARA_TRY_ACQUIRE_SHARED(...)
#define SAMARA_RELEASE(...)
#define SAMARA_RELEASE_SHARED(...)
#define SAMARA_WRITES(...)
#define SAMARA_READS(...)
#define SAMARA_NO_ANALYSIS
#endif

#endif
