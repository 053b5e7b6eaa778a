/* vma_lock.pml - the lock of one VMA (core/vma/lock.c), mmap_lock's end of it (core/space/guard.c) and the lookup under RCU.
 *
 * One slot of a slab, readers that fault at address A, and a writer that twice takes mmap_lock and each time either changes the VMA
 * in place, or gives the slot up and makes another VMA of it, or gives it up and has the slab freed after a grace period.
 * A step of a process is one atomic operation or one plain access of the C code, in its order.  Memory order is not modelled:
 * every step is seen by all at once.
 *
 * What is claimed:
 *   - a reader that passed the verification finds the VMA as it was verified until it counts itself out (`steady`);
 *   - nobody touches the memory of a slab that was freed (`slab_freed`);
 *   - nobody sleeps for ever: spin's own search for deadlocks (a lost wake-up is one), and every process ends.
 *
 * Switches that take one step away, each of which spin must find: NO_SEQ_CHECK (a reader does not look at lock_seq after it counted
 * itself in), NO_VERIFY (it does not look at the VMA again), NO_WAKE (the last reader does not wake the writer), NO_WAIT (the writer does
 * not wait), EARLY_UNLOCK (RCU is left before the verification).
 */

#ifndef READERS
#define READERS 2
#endif
#define WRITER 128

byte lock;          /* vma->lock: readers, plus WRITER */
byte vma_seq;       /* vma->lock_seq */
byte mm_seq = 1;    /* mm->lock_seq */
bool in_tree = true; /* the tree leads from A to the slot */
bool holds_a = true; /* the VMA in the slot belongs to this space, and its range has A */
byte version;       /* of everything else in the VMA */
bool freed;         /* the slab has been given back */
bool asleep;        /* the writer sleeps on `lock` */
byte rcu;           /* readers inside a read section */
byte verified;      /* readers that passed and have not left */
byte mmap_lock;     /* readers of it, or WRITER */

#define ALIVE assert(!freed)

/* Counting oneself out; the last one wakes the writer that waits. */
inline count_out()
{
	atomic {
		ALIVE;
		lock--;
		last = (lock == WRITER)
	}
#ifndef NO_WAKE
	if
	:: last -> asleep = false /* futex: an address, not an access */
	:: else
	fi
#endif
}

proctype reader()
{
	bool found, last, ok;
	byte seen, saw, seq;

	found = false;
	rcu++;
	/* tree_lookup */
	if
	:: in_tree -> found = true
	:: else
	fi;
	if
	:: found ->
		/* vma_lock_read: compare and exchange, until it is in or a writer is there */
		do
		:: atomic { ALIVE; seen = lock };
			if
			:: (seen >= WRITER) -> found = false; break
			:: else ->
				atomic {
					ALIVE;
					if
					:: (lock == seen) -> lock = seen + 1; ok = true
					:: else -> ok = false
					fi
				};
				if
				:: ok -> break
				:: else
				fi
			fi
		od;
#ifndef NO_SEQ_CHECK
		if
		:: found ->
			atomic { ALIVE; seq = vma_seq };
			if
			:: (seq == mm_seq) -> count_out(); found = false
			:: else
			fi
		:: else
		fi
#endif
	:: else
	fi;
#ifdef EARLY_UNLOCK
	rcu--;
#endif
	if
	:: found ->
#ifndef NO_VERIFY
		/* the slot may have become another VMA, or none, before it was counted in */
		atomic { ALIVE; ok = holds_a };
		if
		:: !ok -> count_out(); found = false
		:: else
		fi
#endif
	:: else
	fi;
#ifndef EARLY_UNLOCK
	rcu--;
#endif
	if
	:: found ->
		/* the fault: whatever it reads of the VMA stays */
		atomic { ALIVE; assert(holds_a); saw = version; verified++ };
		atomic { ALIVE; assert(holds_a && version == saw) };
		atomic { verified--; ALIVE; assert(holds_a && version == saw) };
		count_out()
	:: else ->
		/* the read side of mmap_lock instead */
		atomic { (mmap_lock < WRITER) -> mmap_lock++ };
		if
		:: in_tree -> atomic { ALIVE; assert(holds_a) }
		:: else
		fi;
		mmap_lock--
	fi
}

/* vma_lock_write, mmap_lock held */
inline vma_lock_write()
{
	if
	:: (vma_seq == mm_seq) /* marked already, by this holder */
	:: else ->
		atomic { seen = lock; lock = lock + WRITER; seen = lock };
#ifndef NO_WAIT
		do
		:: (seen == WRITER) -> break
		:: else ->
			/* port->wait: sleeps only if the word is still what was seen, in one step */
			atomic {
				if
				:: (lock == seen) -> asleep = true
				:: else
				fi
			};
			(!asleep); /* woken */
			seen = lock
		od;
#endif
		vma_seq = mm_seq;
		lock = 0
	fi
}

/* The VMA leaves: the tree first, then the slot is nobody's. */
inline vma_give()
{
	vma_lock_write();
	in_tree = false;
	vma_lock_write();
	atomic { assert(verified == 0); holds_a = false; version++ }
}

proctype writer()
{
	byte seen, round;
	bool gone;

	do
	:: (round == 2 || gone) -> break
	:: else ->
		round++;
		atomic { (mmap_lock == 0) -> mmap_lock = WRITER };
		if
		:: skip; /* a change in place: mprotect */
			vma_lock_write();
			version++;
			version++
		:: skip; /* munmap, and mmap takes the slot for another range, or for this one */
			vma_give();
			vma_lock_write(); /* vma_fill */
			version++;
			if
			:: holds_a = true; in_tree = true /* another VMA, which has A too */
			:: skip
			fi
		:: skip; /* munmap; the slab is empty, and goes after a grace period */
			vma_give();
			gone = true
		fi;
		mm_seq++;
		mmap_lock = 0
	od;
	if
	:: gone ->
		/* a section that began after the slot left the tree does not find it: waiting for none at all is the longer wait */
		(rcu == 0);
		freed = true
	:: else
	fi
}

init {
	byte i;

	atomic {
		run writer();
		do
		:: (i < READERS) -> run reader(); i++
		:: else -> break
		od
	}
}
