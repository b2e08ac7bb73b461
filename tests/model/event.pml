/* src/sync/event.cpp: the word of an Event. Process 0 sets it twice; processes 1 and 2 wait for it once each.

   Shown: nobody who waits when set() is called waits on, be it cleared at once or its setter killed.

   CLEARS   set() is followed by clear()
   Wrong on purpose:
   FORGETS_TIMES      who waits looks at the flag alone, not at how often it has been set
   SLEEPS_ON_OLD      who waits announces itself and then sleeps without comparing
   LEAVES_FLAG_OUT    who waits does not announce itself */

inline note_death(victim) { skip }

#include "futex.pml"

/* The word: kSet, kSleepers, and from bit 2 on how often it was set. */
#define SET 1
#define SLEEPERS 2
#define ONCE 4
#define TIMES(word) (word >> 2)

byte event_word;

/* Who waits, and whether the event was set meanwhile: what must be so. Who is owed nothing when nobody is left to set
   the event may rightly wait for ever, and is let go. */
bool waiting[PROCESSES];
bool owed[PROCESSES];
#define LET_GO(me) (asleep[me] && !owed[me] && (finished[0] || dead[0]))

mtype = { Load, Announce, Enqueue, Sleep, Again, Set, Wake, Clear, Done };

/* wait_before() */
proctype Waiter(byte me) {
  mtype step = Load;
  byte first, now;
  bool round_over;
  {
    do
    :: atomic { step == Load ->
        first = event_word;
        waiting[me] = true;
        step = (first & SET -> Done : Announce) }
    /* announce_sleeper(): its loop ends when the exchange is made or the event is set */
    :: atomic { step == Announce ->
        if
        :: event_word & SET
        :: else ->
#ifndef LEAVES_FLAG_OUT
          event_word = event_word | SLEEPERS
#endif
        fi;
        now = event_word;
        if
        :: now & SET -> step = Done
#ifndef FORGETS_TIMES
        :: !(now & SET) && TIMES(now) != TIMES(first) -> step = Done
#endif
        :: else -> step = Enqueue
        fi }
#ifdef SLEEPS_ON_OLD
    :: atomic { step == Enqueue -> futex_enqueue(me, true); step = Sleep }
#else
    :: atomic { step == Enqueue -> futex_enqueue(me, event_word == now); step = Sleep }
#endif
    :: atomic { step == Sleep && FUTEX_ENDS(me) && !LET_GO(me) -> futex_end(me, round_over); step = Again }
    :: atomic { step == Sleep && LET_GO(me) -> asleep[me] = false; step = Done }
    :: atomic { step == Again ->
        now = event_word;
        if
        :: now & SET -> step = Done
#ifndef FORGETS_TIMES
        :: !(now & SET) && TIMES(now) != TIMES(first) -> step = Done
#endif
        :: else -> step = Announce
        fi }
    :: atomic { step == Done -> finished[me] = true; break }
    od
  } unless { dead[me] }
}

proctype Setter(byte me) {
  mtype step = Set;
  byte turns = 2;
  byte now;
  {
    do
    /* set(): its loop ends when the exchange is made */
    :: atomic { step == Set ->
        now = event_word;
        if
        :: now & SET
        :: else -> event_word = (now & ~SLEEPERS) + ONCE + SET;
          owed[1] = owed[1] || waiting[1];
          owed[2] = owed[2] || waiting[2]
        fi;
        step = Wake }
    :: atomic { step == Wake ->
        if
        :: now & SLEEPERS -> futex_wake_all()
        :: else
        fi;
        step = Clear }
    :: atomic { step == Clear ->
#ifdef CLEARS
        event_word = event_word & ~SET;
#endif
        turns--; now = 0;
        step = Set;
        if
        :: turns == 0 -> finished[me] = true; break
        :: else
        fi }
    od
  } unless { dead[me] }
}

init { atomic { run Setter(0); run Waiter(1); run Waiter(2) } }
