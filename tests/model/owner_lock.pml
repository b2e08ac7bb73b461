/* src/sync/owner_lock.cpp: the word of a Lock. Three processes acquire it, the first one twice.

   Shown: one at a time has it; the next owner is told exactly when one has died with it; nobody waits for ever.

   DEADLINE          process 2 may give up
   BREAK, REFUSE     OwnerLock::Abandoned: what processes 1 and 2 do with an abandoned lock; Take unless given
   SAME_LOWER_HALF   to who sleeps all owners look the same (their threads have the same number)
   Wrong on purpose:
   FORGETS_SLEEPERS   who has slept does not raise the flag again when it gets the lock
   GIVES_UP_SILENTLY  who has slept does not raise the flag when it gives up
   ABANDONS_BLINDLY   who found the owner dead does not compare when it writes */

byte holder;     /* who has it, plus 1: what must be so */
bool unmended;   /* somebody died with it */

inline note_death(victim) {
  if
  :: holder == victim + 1 -> holder = 0; unmended = true
  :: else
  fi
}

#include "futex.pml"

#ifdef DEADLINE
#define HAS_DEADLINE(me) (me == 2)
#else
#define HAS_DEADLINE(me) false
#endif

/* The word: an owner from bit 2 on, with kAbandoned and kSleepers; or kBroken. */
#define SLEEPERS 1
#define ABANDONED 2
#define BROKEN 64
#define OWNED_BY(me) ((me + 1) << 2)
#define OWNER(word) (word >> 2)
#define IS_FREE(word) (OWNER(word) == 0)
#ifdef SAME_LOWER_HALF
#define LOWER_HALF(word) ((word & 3) | (IS_FREE(word) -> 0 : 4))
#else
#define LOWER_HALF(word) (word)
#endif

byte lock_word;

mtype = { Load, Take, Break, WakeAll, Look, Abandon, Flag, Enqueue, Sleep, Held, Release, WakeOne, WakeEach, Next };

proctype User(byte me) {
  mtype step = Load;
  byte word;
  byte turns = (me == 0 -> 2 : 1);
  bool slept, round_over, gives_up;
  {
    do
    /* acquire_slowly() */
    :: atomic { step == Load ->
        word = lock_word;
        if
        :: word == BROKEN -> step = Next
        :: word != BROKEN && IS_FREE(word) ->
          step = Take;
#ifdef BREAK
          if
          :: (word & ABANDONED) && me != 0 -> step = Break
          :: else
          fi;
#endif
#ifdef REFUSE
          if
          :: (word & ABANDONED) && me != 0 -> step = Next
          :: else
          fi;
#endif
        :: else -> step = Look
        fi }
    :: atomic { step == Break ->
        if
        :: lock_word == word -> lock_word = BROKEN
        :: else
        fi;
        step = WakeAll }
    :: atomic { step == WakeAll -> futex_wake_all(); step = Load }
    /* take_free(), and the first try of acquire() */
    :: atomic { step == Take ->
        if
        :: lock_word == word ->
#ifdef FORGETS_SLEEPERS
          lock_word = OWNED_BY(me) | word;
#else
          lock_word = OWNED_BY(me) | word | (slept -> SLEEPERS : 0);
#endif
          assert(holder == 0 && unmended == ((word & ABANDONED) != 0));
          holder = me + 1;
          step = Held
        :: else -> step = Load
        fi }
    /* look_.due(), which is so after a whole round at the latest, and what the kernel says; deadline.passed() */
    :: atomic { step == Look ->
        if
        :: dead[OWNER(word) - 1] -> step = Abandon
        :: !dead[OWNER(word) - 1] || !round_over ->
          if
          :: HAS_DEADLINE(me) -> gives_up = true
          :: true
          fi;
          if
          :: gives_up && !slept -> step = Next
          :: gives_up && slept && (word & SLEEPERS) -> step = Next
          :: !gives_up && (word & SLEEPERS) -> step = Enqueue
#ifdef GIVES_UP_SILENTLY
          :: gives_up && slept && !(word & SLEEPERS) -> step = Next
#endif
          :: else -> step = Flag
          fi
        fi }
    /* abandon_if_dead(): its loop ends when the exchange is made or the owner is another */
    :: atomic { step == Abandon ->
        if
#ifndef ABANDONS_BLINDLY
        :: OWNER(lock_word) != OWNER(word) -> step = Load
        :: OWNER(lock_word) == OWNER(word) ->
#else
        :: true ->
#endif
          lock_word = ABANDONED;
          step = WakeAll
        fi }
    :: atomic { step == Flag ->
        if
        :: lock_word == word ->
          lock_word = word | SLEEPERS;
          word = lock_word;
          step = (gives_up -> Next : Enqueue)
        :: else -> step = Load
        fi }
    /* sleep() */
    :: atomic { step == Enqueue ->
        futex_enqueue(me, LOWER_HALF(lock_word) == LOWER_HALF(word));
        slept = true;
        step = Sleep }
    :: atomic { step == Sleep && FUTEX_ENDS(me) -> futex_end(me, round_over); step = Load }
    :: atomic { step == Sleep && HAS_DEADLINE(me) -> asleep[me] = false; round_over = false; gives_up = true; step = Load }

    /* With the lock: set_repaired(), or not; release(), whose loop ends when the exchange is made */
    :: atomic { step == Held ->
        if
        :: lock_word & ABANDONED -> lock_word = lock_word & ~ABANDONED; unmended = false
        :: true
        fi;
        step = Release }
    :: atomic { step == Release ->
        assert(holder == me + 1 && OWNER(lock_word) == me + 1);
        word = lock_word;
        lock_word = word & ABANDONED;
        holder = 0;
        if
        :: !(word & SLEEPERS) -> step = Next
        :: (word & SLEEPERS) && !(word & ABANDONED) -> step = WakeOne
        :: (word & SLEEPERS) && (word & ABANDONED) -> step = WakeEach
        fi }
    :: atomic { step == WakeOne -> futex_wake_one(); step = Next }
    :: atomic { step == WakeEach -> futex_wake_all(); step = Next }

    :: atomic { step == Next ->
        turns--;
        word = 0; slept = false; round_over = false; gives_up = false;
        step = Load;
        if
        :: turns == 0 -> finished[me] = true; break
        :: else
        fi }
    od
  } unless { dead[me] }
}

init { atomic { run User(0); run User(1); run User(2) } }
