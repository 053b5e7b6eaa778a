/* access.c - loads, stores, fetches and atomic operations, as a processor makes them.
 *
 * A hit: walk the page table without a lock, look at the rights, take the lock of the page of the table that holds the
 * entry, look again, mark accessed and dirty, move the bytes, give the lock back.  Everything that takes rights or
 * pages away changes entries under the same lock and flushes afterwards, so an access is wholly before or wholly after
 * it.  A page of the table that mremap moved elsewhere in between is found out by the generation, which every flush
 * raises; one that went is empty memory until we have left the read-side section.
 *
 * A miss: samara_fault, and again.
 */
#include "core/fault/fault.h"

struct access {
	struct samara_mm *mm;
	unsigned access, need; /* SAMARA_..., and as rights of an entry */
	struct frame *lock;
	uint8_t *host;         /* the byte at the address */
};

static unsigned rights_needed(unsigned access)
{
	return TABLE_USER | (access & SAMARA_WRITE ? TABLE_WRITE : 0) | (access & SAMARA_EXEC ? TABLE_EXEC : 0);
}

/* The entry's rights, and those of its protection key: a fetch of instructions needs none. */
static bool entry_allows(const struct access *a, uint64_t entry)
{
	const struct table *table = &a->mm->table;
	unsigned key;

	if (a->need & ~entry_rights(table, entry))
		return false;
	key = entry_pkey(table, entry);
	return LIKELY(!key) || (a->access & SAMARA_EXEC) || !pkey_forbids(a->mm, key, a->access & SAMARA_WRITE);
}

/* True: the page that holds addr may be accessed, and stays so until access_end. */
static bool access_begin(struct access *a, uint64_t addr)
{
	struct samara_mm *mm = a->mm;
	struct table *table = &mm->table;
	const struct samara_port *port = mm_port(mm);
	uint64_t generation = LOAD_ACQUIRE(table->generation), entry;
	struct table_spot spot;

	if (UNLIKELY(addr >= table_span(table)))
		return false;
	if (port->read_lock)
		port->read_lock(port->self);
	spot = table_walk(table, addr);
	OTHERS_MAY_COME();
	if (entry_present(spot.entry) && entry_allows(a, spot.entry) &&
	    LIKELY(pfn_in_span(&mm->vm->frames, entry_pfn(table, spot.entry)))) {
		a->lock = table_lock(table, spot.slot);
		entry = LOAD(*spot.slot);
		if (LIKELY(!((entry ^ spot.entry) & ~(table->format.accessed | table->format.dirty)) &&
			   LOAD_ACQUIRE(table->generation) == generation)) {
			table_mark(table, spot.slot, entry, a->access & SAMARA_WRITE);
			a->host = frame_host(&mm->vm->frames, entry_frame(table, entry));
			a->host += addr & (level_bytes(spot.level) - 1);
			return true;
		}
		table_unlock(table, a->lock);
	}
	if (port->read_unlock)
		port->read_unlock(port->self);
	return false;
}

static void access_end(struct access *a)
{
	const struct samara_port *port = mm_port(a->mm);

	table_unlock(&a->mm->table, a->lock);
	if (port->read_unlock)
		port->read_unlock(port->self);
}

/* Until a hit, or the fault's error. */
static int access_page(struct access *a, uint64_t addr, struct samara_signal *why)
{
	while (!access_begin(a, addr)) {
		int err = samara_fault(a->mm, addr, a->access, why);

		if (err)
			return err;
	}
	return 0;
}

static size_t move_bytes(struct samara_mm *mm, uint64_t addr, void *to, const void *from, size_t bytes, unsigned access,
	struct samara_signal *why)
{
	struct access a = { .mm = mm, .access = access, .need = rights_needed(access) };
	size_t done = 0;

	if (why)
		*why = (struct samara_signal){ 0 };
	if (UNLIKELY(!mm_has_memory(mm))) {
		if (why)
			why->error = -SAMARA_ENOSYS;
		return 0;
	}
	while (done < bytes) {
		size_t now = MIN(bytes - done, PAGE_SIZE - (addr & ~PAGE_MASK));

		if (access_page(&a, addr, why))
			break;
		if (to)
			guest_copy((uint8_t *)to + done, a.host, now);
		else
			guest_copy(a.host, (const uint8_t *)from + done, now);
		access_end(&a);
		done += now;
		addr += now;
	}
	return done;
}

size_t samara_load(struct samara_mm *mm, samara_va addr, void *to, size_t bytes, struct samara_signal *why)
{
	return move_bytes(mm, addr, to, NULL, bytes, SAMARA_READ, why);
}

size_t samara_store(struct samara_mm *mm, samara_va addr, const void *from, size_t bytes, struct samara_signal *why)
{
	return move_bytes(mm, addr, NULL, from, bytes, SAMARA_WRITE, why);
}

size_t samara_fetch(struct samara_mm *mm, samara_va addr, void *to, size_t bytes, struct samara_signal *why)
{
	return move_bytes(mm, addr, to, NULL, bytes, SAMARA_EXEC, why);
}

/* The word at `host`, of four bytes or eight: what was there before. */
#define ATOMIC_WORD(type, host, op, operand, expected, old)                                                                  \
	do {                                                                                                                 \
		type *word_ = (type *)(void *)(host), seen_ = (type)(expected);                                              \
		switch (op) {                                                                                                \
		case SAMARA_ATOMIC_EXCHANGE: seen_ = __atomic_exchange_n(word_, (type)(operand), __ATOMIC_SEQ_CST); break;   \
		case SAMARA_ATOMIC_ADD: seen_ = __atomic_fetch_add(word_, (type)(operand), __ATOMIC_SEQ_CST); break;         \
		case SAMARA_ATOMIC_AND: seen_ = __atomic_fetch_and(word_, (type)(operand), __ATOMIC_SEQ_CST); break;         \
		case SAMARA_ATOMIC_OR: seen_ = __atomic_fetch_or(word_, (type)(operand), __ATOMIC_SEQ_CST); break;           \
		case SAMARA_ATOMIC_XOR: seen_ = __atomic_fetch_xor(word_, (type)(operand), __ATOMIC_SEQ_CST); break;         \
		default: (void)__atomic_compare_exchange_n(word_, &seen_, (type)(operand), false, __ATOMIC_SEQ_CST,          \
				__ATOMIC_SEQ_CST); break;                                                                    \
		}                                                                                                            \
		*(old) = seen_;                                                                                              \
	} while (0)

#define COMPARE_EXCHANGE 100

static uint32_t atomic_result(int op, uint32_t was, uint32_t operand, uint32_t expected)
{
	switch (op) {
	case SAMARA_ATOMIC_EXCHANGE: return operand;
	case SAMARA_ATOMIC_ADD: return was + operand;
	case SAMARA_ATOMIC_AND: return was & operand;
	case SAMARA_ATOMIC_OR: return was | operand;
	case SAMARA_ATOMIC_XOR: return was ^ operand;
	}
	return was == expected ? operand : was;
}

/* One or two bytes, as part of the word that they lie in: not every processor has atomic operations on less than a word
 * (RISC-V), and a compiler would call a library for them. */
static uint32_t atomic_part(uint8_t *host, unsigned bytes, int op, uint32_t operand, uint32_t expected)
{
	unsigned at = (unsigned)((uintptr_t)host & 3);
	uint32_t *word = (uint32_t *)(void *)(host - at);
	unsigned shift = 8 * (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? at : 4 - bytes - at);
	uint32_t mask = bytes == 1 ? 0xffu : 0xffffu, seen = LOAD(*word), was, next;

	do {
		was = seen >> shift & mask;
		next = atomic_result(op, was, operand & mask, expected & mask) & mask;
		next = (seen & ~(mask << shift)) | next << shift;
	} while (!__atomic_compare_exchange_n(word, &seen, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	return was;
}

static int atomic_word(struct samara_mm *mm, uint64_t addr, unsigned bytes, int op, uint64_t operand, uint64_t expected, uint64_t *old,
	struct samara_signal *why)
{
	struct access a = { .mm = mm, .access = SAMARA_WRITE, .need = rights_needed(SAMARA_WRITE) };
	uint64_t before;
	int err;

	if (why)
		*why = (struct samara_signal){ 0 };
	err = !mm_has_memory(mm) ? -SAMARA_ENOSYS :
	      (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) || (addr & (bytes - 1)) ? -SAMARA_EINVAL : 0;
	if (err) {
		if (why)
			why->error = err;
		return err;
	}
	err = access_page(&a, addr, why);
	if (err)
		return err;
	switch (bytes) {
	case 1:
	case 2: before = atomic_part(a.host, bytes, op, (uint32_t)operand, (uint32_t)expected); break;
	case 4: ATOMIC_WORD(uint32_t, a.host, op, operand, expected, &before); break;
	default: ATOMIC_WORD(uint64_t, a.host, op, operand, expected, &before); break;
	}
	access_end(&a);
	if (old)
		*old = before;
	return 0;
}

int samara_atomic(struct samara_mm *mm, samara_va addr, unsigned bytes, enum samara_atomic_op op, uint64_t operand, uint64_t *old,
	struct samara_signal *why)
{
	if ((unsigned)op > SAMARA_ATOMIC_XOR)
		return -SAMARA_EINVAL;
	return atomic_word(mm, addr, bytes, (int)op, operand, 0, old, why);
}

int samara_compare_exchange(struct samara_mm *mm, samara_va addr, unsigned bytes, uint64_t expected, uint64_t desired, uint64_t *old,
	struct samara_signal *why)
{
	return atomic_word(mm, addr, bytes, COMPARE_EXCHANGE, desired, expected, old, why);
}
