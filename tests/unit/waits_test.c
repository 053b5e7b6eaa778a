/* waits_test.c - whoever waits for a page of a file waits with nothing held: a page that is being read, or written
 * back, stops those that want it and nobody else.
 *
 * A file of two pages whose reads and write-backs end when the test says so.  One thread wants the page; the test sees
 * it wait, changes the mapping meanwhile, which needs every lock of the mapping, and lets the page come, or kills the
 * thread.  And who does not wait: a fault beside a holder of mmap_lock.
 */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "ports/posix/posix.h"
#include "support.h"

#define FRAMES 512
#define AT 0x100000
#define PRIVATE_AT (2 * AT)
#define SHARED (SAMARA_MAP_SHARED | SAMARA_MAP_FIXED)

enum wish { LOAD, STORE, COPY_FROM, COPY_TO, PIN, FILE_READ, POPULATE, MLOCK, MMAP, FORK, FIRST_TOUCH, VIEW };

struct slow {
	struct samara *vm;
	struct samara_mm *mm;
	struct samara_inode *inode;
	struct samara_file *file;
	void *memory;
	void *asked;            /* a page that is being read */
	pthread_mutex_t lock;
	pthread_cond_t news;
	bool writing, may_write;
	enum wish wish;
	long result;            /* of the wish: bytes or pages, or an error */
	uint32_t done;
};

static int slow_read(void *self, uint64_t index, void *page)
{
	struct slow *s = self;

	if (index)
		return 0;
	s->asked = page;
	return -SAMARA_EINPROGRESS;
}

static int slow_write(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct slow *s = self;

	(void)index;
	(void)page;
	(void)bytes;
	pthread_mutex_lock(&s->lock);
	s->writing = true;
	pthread_cond_broadcast(&s->news);
	while (!s->may_write)
		pthread_cond_wait(&s->news, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static const struct samara_inode_ops slow_ops = { .size = sizeof(slow_ops), .read_page = slow_read, .write_page = slow_write };

static void slow_open(struct slow *s)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = FRAMES };
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .size_bytes = 2 * PAGE, .ops = &slow_ops, .self = s };

	*s = (struct slow){ .lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER };
	config.memory = s->memory = aligned_alloc(4096, FRAMES * 4096);
	assert_int_equal(samara_create(samara_posix_port(), &config, &s->vm), 0);
	assert_int_equal(samara_mm_create(s->vm, NULL, &s->mm), 0);
	assert_int_equal(samara_inode_create(s->vm, &desc, &s->inode), 0);
	assert_int_equal(samara_file_open(s->inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/slow", &s->file), 0);
	assert_int_equal(samara_mmap(s->mm, AT, 2 * PAGE, RW, SHARED, s->file, 0), AT);
}

static void slow_close(struct slow *s)
{
	samara_mm_put(s->mm);
	samara_file_put(s->file);
	samara_inode_put(s->inode);
	samara_check_machine(s->vm);
	samara_destroy(s->vm);
	free(s->memory);
}

static int ignore_text(void *self, const char *text, size_t bytes)
{
	(void)self;
	(void)text;
	(void)bytes;
	return 0;
}

static void *wish_thread(void *self)
{
	struct slow *s = self;
	struct samara_signal why = { 0 };
	struct samara_page page;
	struct samara_mm *child;
	char byte = 7;

	switch (s->wish) {
	case LOAD: s->result = (long)samara_load(s->mm, AT, &byte, 1, &why); break;
	case STORE: s->result = (long)samara_store(s->mm, AT, &byte, 1, &why); break;
	case COPY_FROM: s->result = (long)samara_copy_from(s->mm, AT, &byte, 1, 0, &why); break;
	case COPY_TO: s->result = (long)samara_copy_to(s->mm, AT, &byte, 1, 0, &why); break;
	case FILE_READ: s->result = samara_file_read(s->file, 0, &byte, 1); break;
	case POPULATE: s->result = samara_madvise(s->mm, AT, PAGE, SAMARA_MADV_POPULATE_READ); break;
	case MLOCK: s->result = samara_mlock(s->mm, AT, PAGE); break;
	case MMAP: s->result = samara_mmap(s->mm, 0, PAGE, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS, NULL, 0); break;
	case FORK: s->result = samara_fork(s->mm, &child); break;
	case FIRST_TOUCH: s->result = (long)samara_store(s->mm, PRIVATE_AT, &byte, 1, &why); break;
	case VIEW: s->result = samara_view_maps(s->mm, ignore_text, NULL); break;
	case PIN:
		s->result = samara_pin(s->mm, AT, 1, SAMARA_WRITE, &page);
		if (s->result == 1)
			samara_unpin(s->vm, &page, 1, 1);
		break;
	}
	if (!s->result)
		s->result = why.error;
	__atomic_store_n(&s->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* The thread begins, and is given time to come to where it waits. */
static pthread_t wish_waits(struct slow *s, enum wish wish)
{
	pthread_t thread;

	s->wish = wish;
	s->done = 0;
	assert_int_equal(pthread_create(&thread, NULL, wish_thread, s), 0);
	usleep(30000);
	assert_int_equal(__atomic_load_n(&s->done, __ATOMIC_ACQUIRE), 0);
	return thread;
}

/* The same; then what needs the mapping's locks passes. */
static pthread_t wish_begin(struct slow *s, enum wish wish)
{
	pthread_t thread = wish_waits(s, wish);

	assert_int_equal(samara_mprotect(s->mm, AT + PAGE, PAGE, SAMARA_PROT_READ), 0);
	assert_int_equal(samara_mprotect(s->mm, AT + PAGE, PAGE, RW), 0);
	assert_int_equal(__atomic_load_n(&s->done, __ATOMIC_ACQUIRE), 0);
	return thread;
}

static void test_a_page_that_is_read(void **state)
{
	struct slow s;
	struct samara_page page;
	struct samara_signal why;
	char byte;

	(void)state;
	for (enum wish wish = LOAD; wish <= PIN; wish++) {
		slow_open(&s);
		/* the read is begun by who does not want to wait */
		assert_int_equal(samara_fault(s.mm, AT, SAMARA_READ | SAMARA_NOWAIT, NULL), -SAMARA_EAGAIN);
		assert_non_null(s.asked);
		assert_int_equal(samara_pin(s.mm, AT, 1, SAMARA_NOWAIT, &page), -SAMARA_EAGAIN);
		assert_int_equal(samara_copy_from(s.mm, AT, &byte, 1, SAMARA_NOWAIT, &why), 0);
		assert_int_equal(why.error, -SAMARA_EAGAIN);
		pthread_t thread = wish_begin(&s, wish);

		memset(s.asked, 5, PAGE);
		samara_read_done(s.inode, 0, 0);
		pthread_join(thread, NULL);
		assert_int_equal(s.result, 1);
		assert_int_equal(samara_load(s.mm, AT, &byte, 1, NULL), 1);
		assert_int_equal(byte, wish == STORE || wish == COPY_TO ? 7 : 5);
		s.may_write = true;
		slow_close(&s);
	}
}

/* Populate waits with the read side of mmap_lock: first touches of private memory, which need it too, go on. */
static void test_populate_lets_faults_pass(void **state)
{
	struct slow s;
	pthread_t thread;
	char byte = 3;

	(void)state;
	slow_open(&s);
	assert_int_equal(samara_mmap(s.mm, 2 * AT, PAGE, RW, FIXED, NULL, 0), 2 * AT);
	assert_int_equal(samara_fault(s.mm, AT, SAMARA_READ | SAMARA_NOWAIT, NULL), -SAMARA_EAGAIN);
	s.wish = POPULATE;
	assert_int_equal(pthread_create(&thread, NULL, wish_thread, &s), 0);
	usleep(30000);
	assert_int_equal(samara_store(s.mm, 2 * AT, &byte, 1, NULL), 1);
	assert_int_equal(__atomic_load_n(&s.done, __ATOMIC_ACQUIRE), 0);
	memset(s.asked, 5, PAGE);
	samara_read_done(s.inode, 0, 0);
	pthread_join(thread, NULL);
	assert_int_equal(s.result, 0);
	slow_close(&s);
}

static void kill_me(int signo)
{
	(void)signo;
	samara_posix_set_fatal_signal(1);
}

/* The thread waits; then it is killed, and what it wished for has not happened. */
static void killed_while_it_waits(struct slow *s, enum wish wish)
{
	pthread_t thread = wish_waits(s, wish);

	assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
	pthread_join(thread, NULL);
	assert_int_equal(s->result, -SAMARA_EINTR);
}

static void test_killed_threads_wait_no_longer(void **state)
{
	struct sigaction action = { .sa_handler = kill_me };
	struct samara_write_guard guard;
	struct samara_mm_stat stat;
	struct slow s;
	char byte;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	slow_open(&s);
	assert_int_equal(samara_mmap(s.mm, PRIVATE_AT, PAGE, RW, FIXED, NULL, 0), PRIVATE_AT);
	assert_int_equal(samara_mprotect(s.mm, AT + PAGE, PAGE, SAMARA_PROT_READ), 0); /* mlock gives its part flags of its own */
	assert_int_equal(samara_fault(s.mm, AT, SAMARA_READ | SAMARA_NOWAIT, NULL), -SAMARA_EAGAIN);
	for (enum wish wish = LOAD; wish <= MLOCK; wish++)
		killed_while_it_waits(&s, wish);
	samara_write_lock(s.mm, &guard);
	for (enum wish wish = MLOCK; wish <= VIEW; wish++)
		killed_while_it_waits(&s, wish);
	samara_write_unlock(&guard);
	samara_mm_stat(s.mm, &stat);
	assert_int_equal(stat.map_count, 3);
	assert_int_equal(stat.size_pages, 3);
	assert_int_equal(stat.locked_pages, 1); /* mlock(2) marks the mapping before it brings the pages */
	memset(s.asked, 5, PAGE);
	samara_read_done(s.inode, 0, 0);
	assert_int_equal(samara_load(s.mm, AT, &byte, 1, NULL), 1);
	assert_int_equal(byte, 5);
	slow_close(&s);
}

static void *sync_thread(void *self)
{
	struct slow *s = self;

	assert_int_equal(samara_file_fsync(s->file), 0);
	return NULL;
}

static void test_a_page_that_is_written_back(void **state)
{
	static const enum wish wishes[] = { STORE, COPY_TO, PIN };
	struct slow s;
	pthread_t writer, thread;
	char byte = 1;

	(void)state;
	for (unsigned i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		slow_open(&s);
		assert_int_equal(samara_fault(s.mm, AT, SAMARA_WRITE | SAMARA_NOWAIT, NULL), -SAMARA_EAGAIN);
		memset(s.asked, 5, PAGE);
		samara_read_done(s.inode, 0, 0);
		assert_int_equal(samara_store(s.mm, AT, &byte, 1, NULL), 1);
		assert_int_equal(pthread_create(&writer, NULL, sync_thread, &s), 0);
		pthread_mutex_lock(&s.lock);
		while (!s.writing)
			pthread_cond_wait(&s.news, &s.lock);
		pthread_mutex_unlock(&s.lock);
		/* the entry stands, without write: making it writable again must wait for the write-back */
		assert_int_equal(samara_load(s.mm, AT, &byte, 1, NULL), 1);
		assert_int_equal(samara_fault(s.mm, AT, SAMARA_WRITE | SAMARA_NOWAIT, NULL), -SAMARA_EAGAIN);
		thread = wish_begin(&s, wishes[i]);
		pthread_mutex_lock(&s.lock);
		s.may_write = true;
		pthread_cond_broadcast(&s.news);
		pthread_mutex_unlock(&s.lock);
		pthread_join(thread, NULL);
		pthread_join(writer, NULL);
		assert_int_equal(s.result, 1);
		slow_close(&s);
	}
}

struct touch {
	struct samara_mm *mm;
	uint64_t addr;
	uint32_t done;
};

static void *touch_thread(void *self)
{
	struct touch *t = self;

	if (!samara_fault(t->mm, t->addr, SAMARA_WRITE, NULL))
		__atomic_store_n(&t->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Is the page there, while somebody holds mmap_lock for writing and changes nothing? */
static bool fault_passes_writer(struct samara_mm *mm, uint64_t addr)
{
	struct touch t = { .mm = mm, .addr = addr };
	struct samara_write_guard guard;
	pthread_t thread;
	bool passed;

	samara_write_lock(mm, &guard);
	assert_int_equal(pthread_create(&thread, NULL, touch_thread, &t), 0);
	for (int i = 0; i < 2000 && !__atomic_load_n(&t.done, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	passed = __atomic_load_n(&t.done, __ATOMIC_ACQUIRE);
	samara_write_unlock(&guard);
	pthread_join(thread, NULL);
	return passed;
}

/* In a space that was forked as well, from the first fault on. */
static void test_a_fault_takes_no_mmap_lock(void **state)
{
	struct samara_mm *child;
	struct slow s;
	char byte = 3;

	(void)state;
	slow_open(&s);
	assert_int_equal(samara_mmap(s.mm, 2 * AT, 4 * PAGE, RW, FIXED, NULL, 0), 2 * AT);
	assert_int_equal(samara_store(s.mm, 2 * AT, &byte, 1, NULL), 1); /* the first one gives the history, and needs it */
	assert_int_equal(samara_fork(s.mm, &child), 0);
	assert_true(fault_passes_writer(child, 2 * AT));         /* a copy */
	assert_true(fault_passes_writer(child, 2 * AT + PAGE));
	assert_true(fault_passes_writer(s.mm, 2 * AT + 2 * PAGE));
	samara_mm_put(child);
	s.may_write = true;
	slow_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_page_that_is_read),
		cmocka_unit_test(test_a_page_that_is_written_back),
		cmocka_unit_test(test_killed_threads_wait_no_longer),
		cmocka_unit_test(test_populate_lets_faults_pass),
		cmocka_unit_test(test_a_fault_takes_no_mmap_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
