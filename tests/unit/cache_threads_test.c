/* cache_threads_test.c - core/cache under threads: lookups while frames change hands, and a crowd that reads, writes,
 * cuts, punches, reclaims and writes back one file, with pages that come at once, later, or not at all.
 */
#include <pthread.h>

#include "ports/posix/posix.h"
#include "tests/unit/cache_support.h"

#define CROWD_PAGES 200u
#define CROWD_ROUNDS 3000u

struct crowd {
	struct samara *vm;
	struct samara_file *file;
	unsigned seed;
	bool later;             /* reads come through `post` */
	pthread_mutex_t lock;
	pthread_cond_t news;
	uint64_t post[256];
	void *where[256];
	unsigned posted;
	bool over;
	unsigned char bytes[CROWD_PAGES * 4096];
};

/* Every page is its number in each word, and the second word is anything, twice. */
static void crowd_fill(uint64_t *words, uint64_t index, uint64_t value)
{
	for (unsigned i = 0; i < 512; i += 2) {
		words[i] = index;
		words[i + 1] = value;
	}
}

static int crowd_read_page(void *self, uint64_t index, void *page)
{
	struct crowd *c = self;

	pthread_mutex_lock(&c->lock);
	if (c->later && c->posted < 256 && !c->over) {
		c->post[c->posted] = index;
		c->where[c->posted++] = page;
		pthread_cond_signal(&c->news);
		pthread_mutex_unlock(&c->lock);
		return -SAMARA_EINPROGRESS;
	}
	memcpy(page, c->bytes + index * 4096, 4096);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int crowd_write_page(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct crowd *c = self;

	pthread_mutex_lock(&c->lock);
	memcpy(c->bytes + index * 4096, page, bytes);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int crowd_set_size(void *self, uint64_t size)
{
	struct crowd *c = self;

	pthread_mutex_lock(&c->lock);
	memset(c->bytes + size, 0, sizeof(c->bytes) - size);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int crowd_punch(void *self, uint64_t start, uint64_t end)
{
	struct crowd *c = self;

	pthread_mutex_lock(&c->lock);
	memset(c->bytes + start, 0, MIN(end, sizeof(c->bytes)) - start);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static void *crowd_postman(void *self)
{
	struct crowd *c = self;

	pthread_mutex_lock(&c->lock);
	while (!c->over || c->posted) {
		uint64_t index;

		if (!c->posted) {
			pthread_cond_wait(&c->news, &c->lock);
			continue;
		}
		index = c->post[--c->posted];
		memcpy(c->where[c->posted], c->bytes + index * 4096, 4096);
		pthread_mutex_unlock(&c->lock);
		samara_read_done(c->file->inode, index, index % 50 == 49 ? -SAMARA_EIO : 0);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static void crowd_look(struct crowd *c, uint64_t index)
{
	struct frame *page;
	uint64_t *words;
	int err = cache_get(c->file->inode, c->file, index, CACHE_LOCK, &page);

	if (err) {
		assert_true(err == -SAMARA_ERANGE || err == -SAMARA_EIO || err == -SAMARA_ENOMEM);
		return;
	}
	assert_true(page->owner == c->file->inode && page->index == index && page_has(page, PAGE_UPTODATE));
	words = frame_host(&c->vm->frames, page);
	for (unsigned i = 0; i < 512; i += 2)
		assert_true((words[i] == index && words[i + 1] == words[1]) || (words[i] == 0 && words[i + 1] == 0));
	page_unlock(c->vm, page);
	frame_put(&c->vm->frames, 0, page);
}

static void *crowd_member(void *self)
{
	struct crowd *c = self;
	unsigned seed = __atomic_add_fetch(&c->seed, 77, __ATOMIC_RELAXED);
	uint64_t words[512];

	for (unsigned round = 0; round < CROWD_ROUNDS; round++) {
		uint64_t index = (unsigned)rand_r(&seed) % CROWD_PAGES;
		int64_t n;

		switch ((unsigned)rand_r(&seed) % 16) {
		case 0:
			assert_int_equal(samara_file_truncate(c->file, index * 4096), 0);
			break;
		case 1:
			assert_int_equal(samara_file_fallocate(c->file, 3, index * 4096, 5 * 4096), 0);
			break;
		case 2:
			samara_reclaim(c->vm, 20);
			break;
		case 3:
			samara_write_back(c->vm, 20);
			break;
		case 4:
			(void)samara_file_fsync(c->file);
			break;
		case 5:
		case 6:
		case 7:
		case 8:
			crowd_fill(words, index, (uint64_t)rand_r(&seed));
			n = samara_file_write(c->file, index * 4096, words, 4096);
			assert_true(n == 4096 || n == -SAMARA_ENOMEM || n == -SAMARA_EIO);
			break;
		case 9: {
			struct frame *page = cache_find(c->file->inode, index);

			if (page) {
				assert_true(page->kind == FRAME_FILE && page->index == index);
				frame_put(&c->vm->frames, 0, page);
			}
			break;
		}
		default:
			crowd_look(c, index);
		}
	}
	return NULL;
}

static void run_crowd(bool later, enum samara_inode_kind kind)
{
	static const struct samara_inode_ops ops = { .size = sizeof(ops), .read_page = crowd_read_page,
		.write_page = crowd_write_page, .set_size = crowd_set_size, .punch = crowd_punch };
	struct samara_config config = { .size = sizeof(config), .memory_pages = kind == SAMARA_INODE_SHMEM ? 256 : 128,
		.cpus = 1 };
	struct crowd *c = calloc(1, sizeof(*c));
	struct samara_inode_desc desc = { .kind = kind, .ops = kind == SAMARA_INODE_SHMEM ? NULL : &ops, .self = c,
		.charge_pages = 1 };
	pthread_t member[4], postman;
	const char *wrong;

	assert_non_null(c);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->news, NULL);
	c->later = later;
	config.memory = aligned_alloc(4096, config.memory_pages * 4096);
	assert_int_equal(machine_make(samara_posix_port(), &config, &c->vm), 0);
	c->file = file_make(c->vm, &desc);
	assert_int_equal(pthread_create(&postman, NULL, crowd_postman, c), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(member); i++)
		assert_int_equal(pthread_create(&member[i], NULL, crowd_member, c), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(member); i++)
		pthread_join(member[i], NULL);
	pthread_mutex_lock(&c->lock);
	c->over = true;
	pthread_cond_signal(&c->news);
	pthread_mutex_unlock(&c->lock);
	pthread_join(postman, NULL);
	wrong = cache_check(c->file->inode);
	if (wrong)
		fail_msg("%s", wrong);
	for (uint64_t i = 0; i < CROWD_PAGES; i++)
		crowd_look(c, i);
	samara_file_put(c->file);
	machine_free(c->vm);
	free(config.memory);
	free(c);
}

/* Two inodes take turns with the same few frames; who looks one up gets its page or none, never the other's. */
struct duel {
	struct samara *vm;
	struct samara_inode *inode[2];
	bool over;
};

static void *duel_change(void *self)
{
	struct duel *d = self;

	while (!__atomic_load_n(&d->over, __ATOMIC_ACQUIRE))
		for (unsigned i = 0; i < 2; i++) {
			struct frame *page;

			assert_int_equal(page_make(d->inode[i], i + 5, false, false, &page), 0);
			page_fill_done(page);
			cache_remove(d->inode[i], page);
			page_unlock(d->vm, page);
			frame_put(&d->vm->frames, 0, page);
		}
	return NULL;
}

static void test_lookups_race(void **state)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .size_bytes = 64 * 4096 };
	struct samara_config config = { .size = sizeof(config), .memory_pages = 8, .cpus = 1 };
	struct duel d = { .over = false };
	struct frame *page, *base[2];
	unsigned found = 0;
	pthread_t changer;

	(void)state;
	config.memory = aligned_alloc(4096, config.memory_pages * 4096);
	assert_int_equal(machine_make(samara_posix_port(), &config, &d.vm), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(samara_inode_create(d.vm, &desc, &d.inode[i]), 0);
		/* a page that stays keeps the node, so that the slot is what changes */
		assert_int_equal(page_make(d.inode[i], 1, false, false, &base[i]), 0);
		page_fill_done(base[i]);
		page_unlock(d.vm, base[i]);
		frame_put(&d.vm->frames, 0, base[i]);
	}
	assert_int_equal(pthread_create(&changer, NULL, duel_change, &d), 0);
	for (unsigned n = 0; n < 10000000; n++) {
		unsigned i = n & 1;

		page = cache_find(d.inode[i], i + 5);
		if (!page)
			continue;
		found++;
		assert_int_equal(page->index, i + 5);
		assert_true(LOAD(page->owner) == d.inode[i] || !LOAD(page->owner));
		frame_put(&d.vm->frames, 0, page);
	}
	__atomic_store_n(&d.over, true, __ATOMIC_RELEASE);
	pthread_join(changer, NULL);
	assert_true(found > 0);
	for (unsigned i = 0; i < 2; i++) {
		check_inode(d.inode[i]);
		samara_inode_put(d.inode[i]);
	}
	machine_free(d.vm);
	free(config.memory);
}

static void test_threads(void **state)
{
	(void)state;
	run_crowd(false, SAMARA_INODE_REGULAR);
	run_crowd(true, SAMARA_INODE_REGULAR);
	run_crowd(false, SAMARA_INODE_SHMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookups_race), cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
