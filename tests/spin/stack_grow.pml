/* stack_grow.pml - a fault below a stack (core/fault/fault.c: fault_map_locked, fault_grow_stack) over mmap_lock (core/base/lock.h, lock.c).
 *
 * Two threads fault at pages 0 and 1 below a stack that begins at page 2; a third one twice takes mmap_lock and changes what is there.
 * A fault finds the hole under the read side, gives it back, takes the write side, looks again, grows the VMA, and turns the write
 * side into the read side; then the page is mapped.  The lock is modelled with its sleepers, as the C code has it: `turn` and `waiters`
 * are counted before the last look at `state`, and whoever frees the lock looks at `waiters` afterwards.  Watching the lock before
 * sleeping (lock_spin) is left out: it is one more try.
 *
 * What is claimed:
 *   - a page is mapped only in a VMA that is there and reaches down to it, and this stays so until the lock is given back;
 *   - the writer is alone, and whoever turned the write side into the read side was never without the lock in between;
 *   - nobody sleeps for ever, and in the end the lock is free and nobody is counted as waiting.
 *
 * Switches that take one step away, each of which spin must find: NO_LOOK_AGAIN (the VMA found under the read side is used after the
 * gap), NO_DOWNGRADE (the write side is given back and the read side taken), NO_WAKE (whoever frees the lock wakes nobody), NO_WAITERS (a
 * waiter does not count itself).  That whoever downgrades wakes too lets readers in sooner; nobody would sleep for ever without it.
 */

#define WRITER 64
#define THREADS 3

byte state, waiters, turn;
bool asleep[THREADS];

bool there = true; /* a growing mapping with its end above page 2 */
byte id = 1;       /* which */
byte start = 2;
bool grows = true;

byte writing, reading;

/* port->wake with INT_MAX */
inline wake_all()
{
	atomic { asleep[0] = false; asleep[1] = false; asleep[2] = false }
}

/* port->wait: sleeps only if the word is still what was seen, in one step */
inline sleep_on(saw)
{
	atomic {
		if
		:: (state == saw) -> asleep[me] = true
		:: else
		fi
	};
	(!asleep[me])
}

inline count_waiter(delta)
{
#ifndef NO_WAITERS
	waiters = waiters + delta
#else
	skip
#endif
}

inline read_lock()
{
	atomic {
		if
		:: (state < WRITER && turn == 0) -> state++; got = true
		:: else -> got = false
		fi
	};
	if
	:: got
	:: else ->
		count_waiter(1);
		do
		:: seen = state;
			if
			:: (seen >= WRITER || (turn > 0 && seen != 0)) -> sleep_on(seen)
			:: else ->
				atomic {
					if
					:: (state == seen) -> state = seen + 1; got = true
					:: else
					fi
				};
				if
				:: got -> break
				:: else
				fi
			fi
		od;
		count_waiter(-1)
	fi;
	atomic { reading++; assert(writing == 0) }
}

inline write_lock()
{
	atomic {
		if
		:: (state == 0) -> state = WRITER; got = true
		:: else -> got = false
		fi
	};
	if
	:: got
	:: else ->
		turn++;
		count_waiter(1);
		do
		:: seen = state;
			if
			:: (seen != 0) -> sleep_on(seen)
			:: else ->
				atomic {
					if
					:: (state == 0) -> state = WRITER; got = true
					:: else
					fi
				};
				if
				:: got -> break
				:: else
				fi
			fi
		od;
		count_waiter(-1);
		turn--
	fi;
	atomic { writing++; assert(writing == 1 && reading == 0) }
}

inline release(hold)
{
	atomic { state = state - hold; seen = state };
	if
	:: (seen == 0) ->
#ifndef NO_WAKE
		if
		:: (waiters > 0) -> wake_all()
		:: else
		fi
#else
		skip
#endif
	:: else
	fi
}

inline read_unlock()
{
	reading--;
	release(1)
}

inline write_unlock()
{
	writing--;
	release(WRITER)
}

inline downgrade()
{
#ifndef NO_DOWNGRADE
	atomic { writing--; reading++; state = 1 };
	if
	:: (waiters > 0) -> wake_all()
	:: else
	fi
#else
	write_unlock();
	read_lock()
#endif
}

/* fault_in_vma, in two steps: it is the same VMA all the time, and has the address. */
inline map_page()
{
	assert(there && id == vma && start <= addr);
	assert(there && id == vma && start <= addr)
}

proctype fault(byte me; byte addr)
{
	byte seen, vma;
	bool got, hole, ok;

	read_lock();
	vma = (there -> id : 0);
	hole = (there && start > addr && grows);
	ok = (there && start <= addr);
	if
	:: hole ->
		read_unlock();
		write_lock();
#ifndef NO_LOOK_AGAIN
		vma = (there -> id : 0);
#endif
		if
		:: (vma == 0) -> ok = false
		:: (vma != 0 && start <= addr) -> ok = true
		:: (vma != 0 && start > addr && !grows) -> ok = false
		:: (vma != 0 && start > addr && grows) ->
			if
			:: start = addr; ok = true /* mm_expand_stack */
			:: ok = false              /* a limit, or no memory: nothing has changed */
			fi
		fi;
		if
		:: ok -> downgrade()
		:: else -> write_unlock()
		fi
	:: else
	fi;
	if
	:: ok -> map_page(); read_unlock()
	:: (!ok && !hole) -> read_unlock() /* SIGSEGV */
	:: (!ok && hole) /* SIGSEGV; nothing is held */
	fi
}

proctype other(byte me)
{
	byte seen, round;
	bool got;

	do
	:: (round == 2) -> break
	:: else ->
		round++;
		write_lock();
		if
		:: atomic { there = false; id++ }                           /* munmap */
		:: atomic { there = true; id++; start = 2; grows = true }   /* another stack there */
		:: atomic { there = true; id++; start = 2; grows = false }  /* something that does not grow */
		:: atomic { there = true; id++; start = 0; grows = false }  /* something that has both pages */
		:: atomic { (there && start < 2) -> start++ }               /* munmap of its lowest page */
		fi;
		write_unlock()
	od
}

init {
	atomic {
		run fault(0, 0);
		run fault(1, 1);
		run other(2)
	};
	(_nr_pr == 1);
	assert(state == 0 && waiters == 0 && turn == 0 && reading == 0 && writing == 0)
}
