/* What the models have in common: a futex of the kernel on one word, processes that are killed, the 100 ms round.

   KILLS    how many processes may be killed, each between any two of its steps; 0 unless given
   ROUNDS   every sleep may end with its round (kLongestSleep), at any time; without it, only with a wake-up

   Each process is a loop over its steps, of which each is atomic and is at the most one access to shared memory that
   others change, or one system call. A model calls these inlines within its steps. */

#define PROCESSES 3
#ifndef KILLS
#define KILLS 0
#endif

bool asleep[PROCESSES];    /* in the kernel's queue */
bool dead[PROCESSES];
bool finished[PROCESSES];

/* The first half of futex_wait(): the kernel compares and enqueues in one step, for it holds the queue's lock. */
inline futex_enqueue(me, as_expected) { asleep[me] = (as_expected) }

/* The second half: until a wake-up, or the end of the round, which `round_over` tells. */
#ifdef ROUNDS
#define FUTEX_ENDS(me) true
#else
#define FUTEX_ENDS(me) !asleep[me]
#endif
inline futex_end(me, round_over) {
  round_over = asleep[me];
  asleep[me] = false
}

/* futex_wake(1): whichever of the sleepers. */
inline futex_wake_one() {
  if
  :: asleep[0] -> asleep[0] = false
  :: asleep[1] -> asleep[1] = false
  :: asleep[2] -> asleep[2] = false
  :: !asleep[0] && !asleep[1] && !asleep[2]
  fi
}

inline futex_wake_all() {
  asleep[0] = false; asleep[1] = false; asleep[2] = false
}

/* Kills; the victim takes no further step, because its steps are `unless { dead[me] }`. Each model says in note_death()
   what of its own bookkeeping (not of shared memory) a death changes. */
inline kill_one(victim) {
  atomic {
    !dead[victim] && !finished[victim] -> dead[victim] = true; asleep[victim] = false; note_death(victim)
  }
}

#if KILLS > 0
active proctype Killer() {
  byte kills;
  do
  :: kills < KILLS ->
    kills++;
    if
    :: kill_one(0)
    :: kill_one(1)
    :: kill_one(2)
    :: skip
    fi
  :: break
  od
}
#endif

/* Nobody waits for ever: under fair scheduling each process comes to its end or is killed. */
ltl all_end { <> ((finished[0] || dead[0]) && (finished[1] || dead[1]) && (finished[2] || dead[2])) }
