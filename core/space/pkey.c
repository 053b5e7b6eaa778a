/* pkey.c - protection keys (pkeys(7)): which an address space has given out, and what a thread's rights say of them.
 *
 * A VMA has a key, and so have its entries; key 0 is everybody's.  The rights are PKRU, a register of each thread, of
 * two bits a key: 1, no load and no store; 2, no store.  The port keeps it for threads that have one
 * (samara_port.pkru); without, the space has one for all that run in it, which fork hands on.  The rights count for a
 * thread's own loads and stores, for populate and for pins; not for fetches of instructions, nor for what somebody else
 * does to the space (samara_copy_*, SAMARA_FORCE).
 *
 * mm->pkeys and mm->execute_only_pkey are mmap_lock's, write side.  mm->pkru is whoever runs there: atomic.
 */
#include "core/space/space.h"

#define PKEYS 16
#define PKEY_NO_ACCESS 1u
#define PKEY_NO_WRITE 2u
#define PKRU_FIRST 0x55555554u /* of a program that begins: key 0 alone is open */

SAMARA_INTERNAL void pkey_reset(struct samara_mm *mm)
{
	mm->pkeys = 1;
	mm->execute_only_pkey = -1;
	mm->pkey_0_taken = false;
	STORE(mm->pkru, PKRU_FIRST);
}

SAMARA_INTERNAL void pkey_inherit(struct samara_mm *child, const struct samara_mm *parent)
{
	child->pkeys = parent->pkeys;
	child->execute_only_pkey = parent->execute_only_pkey;
	child->pkey_0_taken = parent->pkey_0_taken;
	STORE(child->pkru, LOAD(parent->pkru));
}

uint32_t samara_pkru(const struct samara_mm *mm)
{
	const struct samara_port *port = mm_port(mm);

	return port->pkru ? port->pkru(port->self) : LOAD(mm->pkru);
}

void samara_set_pkru(struct samara_mm *mm, uint32_t pkru)
{
	const struct samara_port *port = mm_port(mm);

	if (port->set_pkru)
		port->set_pkru(port->self, pkru);
	else
		STORE(mm->pkru, pkru);
}

/* Do the rights of who asks forbid a load, or a store, by this key? */
SAMARA_INTERNAL bool pkey_forbids(const struct samara_mm *mm, unsigned key, bool write)
{
	uint32_t rights;

	if (LIKELY(!key) || !mm->vm->config.pkeys)
		return false;
	rights = samara_pkru(mm) >> 2 * key;
	return (rights & PKEY_NO_ACCESS) || (write && (rights & PKEY_NO_WRITE));
}

static void set_rights(struct samara_mm *mm, unsigned key, uint32_t rights)
{
	samara_set_pkru(mm, (samara_pkru(mm) & ~(3u << 2 * key)) | rights << 2 * key);
}

/* The lowest key that is free is given out; -1: none. */
static int take_key(struct samara_mm *mm)
{
	for (int key = 0; key < PKEYS; key++)
		if (!(mm->pkeys >> key & 1)) {
			mm->pkeys |= 1u << key;
			return key;
		}
	return -1;
}

/* The key of execute-only memory, one in an address space; whoever maps such memory can no longer read by it.  0: none
 * to be had. */
SAMARA_INTERNAL int mm_execute_only_pkey(struct samara_mm *mm)
{
	int key;

	if (!mm->vm->config.pkeys)
		return 0;
	key = mm->execute_only_pkey;
	if (key >= 0 && (!key || pkey_forbids(mm, (unsigned)key, false)))
		return key;
	if (key < 0)
		key = mm->execute_only_pkey = take_key(mm);
	if (key < 0)
		return 0;
	set_rights(mm, (unsigned)key, PKEY_NO_ACCESS);
	return key;
}

int samara_pkey_alloc(struct samara_mm *mm, uint64_t flags, uint64_t rights)
{
	struct samara_write_guard g;
	int key = -1, err = -SAMARA_ENOSPC;

	if (flags || (rights & ~(uint64_t)(PKEY_NO_ACCESS | PKEY_NO_WRITE)))
		return -SAMARA_EINVAL;
	samara_write_lock(mm, &g);
	if (mm->vm->config.pkeys) {
		key = take_key(mm);
	} else if (!mm->pkey_0_taken) {
		/* without the feature the kernel has key 0 alone, gives it out once, and only then finds that it cannot
		 * be set */
		mm->pkey_0_taken = true;
		err = -SAMARA_EINVAL;
	}
	if (key >= 0)
		set_rights(mm, (unsigned)key, (uint32_t)rights);
	samara_write_unlock(&g);
	return key < 0 ? err : key;
}

int samara_pkey_free(struct samara_mm *mm, int pkey)
{
	struct samara_write_guard g;
	int err = -SAMARA_EINVAL;

	samara_write_lock(mm, &g);
	/* the execute-only key is not the caller's */
	if (mm->vm->config.pkeys && pkey >= 0 && pkey < PKEYS && (mm->pkeys >> pkey & 1) && pkey != mm->execute_only_pkey) {
		mm->pkeys &= ~(1u << pkey);
		err = 0;
	}
	samara_write_unlock(&g);
	return err;
}
