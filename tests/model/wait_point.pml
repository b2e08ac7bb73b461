/* src/ipc/futex.hpp: a WaitPoint as LockedQueue::wait() and its callers use it. Process 0 puts two items; processes 1 and
   2 get one each.

   Shown: nobody sleeps while there is an item, wherever wakers and sleepers are killed; what a killed taker had claimed
   goes to another.

   DEADLINE   process 2 may give up
   WATCHES    process 1 only waits until there is an item, as QueueWaitSource does for wait(), and takes none
   Wrong on purpose:
   FORGETS_SLEEPERS    who has slept does not raise the flag again: no resume()
   PASSES_NOTHING_ON   who has slept and leaves items wakes nobody
   TICKET_TOO_LATE     the ticket is taken when the lock is released already */

bool wants_lock[3];
inline note_death(victim) { wants_lock[victim] = false }

#include "futex.pml"

#ifdef DEADLINE
#define HAS_DEADLINE(me) (me == 2)
#else
#define HAS_DEADLINE(me) false
#endif

#ifdef WATCHES
#define WATCHES_ONLY(me) (me == 1)
#else
#define WATCHES_ONLY(me) false
#endif

/* Who has the queue's lock, plus 1. It is robust: that of a dead one can be taken. */
byte lock;
#define LOCK_CAN_BE_TAKEN (lock == 0 || dead[lock - 1])
/* Who waits for it gets it before those who sleep have slept out a round: without this, they could overtake it for ever,
   each time that it is free. */
#ifdef LIVENESS
#define ROUND_MAY_END (!wants_lock[0] && !wants_lock[1] && !wants_lock[2])
#else
#define ROUND_MAY_END true
#endif
byte items;
bool claimed[PROCESSES];  /* in the process's name, and not received yet */

/* The WaitPoint. */
byte signal;
bool sleeping;

/* Who gets nothing because nobody is left to put an item may rightly wait for ever, and is let go. */
#define NOTHING_TO_COME \
  ((finished[0] || dead[0]) && items == 0 && !(claimed[1] && !finished[1]) && !(claimed[2] && !finished[2]))
#define LET_GO(me) (asleep[me] && NOTHING_TO_COME)

mtype = { Lock, Put, Ready, Claim, Prepare, Ticket, Unlock, Enqueue, Sleep, Resume, Lower, Signal, UnlockAndWake, Wake,
          Receive, Next };

proctype User(byte me) {
  mtype step = Lock;
  byte turns = (me == 0 -> 2 : 1);
  byte ticket;
  bool slept, round_over, wakes, gives_up;
  {
    do
    :: atomic { step == Lock && !wants_lock[me] -> wants_lock[me] = true }
    :: atomic { step == Lock && wants_lock[me] && LOCK_CAN_BE_TAKEN ->
        lock = me + 1; wants_lock[me] = false;
        step = (me == 0 -> Put : (slept -> Resume : Ready)) }

    /* put_small() and leave_put() */
    :: atomic { step == Put -> items++; step = Lower }

    /* wait_for_item(): take_over_claims() if there is nothing, each in one transaction */
    :: atomic { step == Ready ->
        if
        :: items == 0 && claimed[1] && dead[1] -> claimed[1] = false; items++
        :: items == 0 && claimed[2] && dead[2] -> claimed[2] = false; items++
        :: else
        fi;
        if
        :: items > 0 -> step = Claim
        :: items == 0 ->
          if
          :: HAS_DEADLINE(me) -> gives_up = true
          :: true
          fi;
          step = (gives_up -> UnlockAndWake : Prepare)
        fi }
    :: atomic { step == Claim ->
        if
        :: WATCHES_ONLY(me)
        :: else -> items--; claimed[me] = true
        fi;
        /* claim(), resume() of QueueWaitSource: to pass on what is left */
#ifdef PASSES_NOTHING_ON
        step = UnlockAndWake
#else
        step = (slept && items > 0 -> Lower : UnlockAndWake)
#endif
        }

    /* prepare() */
    :: atomic { step == Prepare -> sleeping = true; step = Ticket }
#ifdef TICKET_TOO_LATE
    :: atomic { step == Ticket -> lock = 0; step = Unlock }
    :: atomic { step == Unlock -> ticket = signal; step = Enqueue }
#else
    :: atomic { step == Ticket -> ticket = signal; step = Unlock }
    :: atomic { step == Unlock -> lock = 0; step = Enqueue }
#endif
    /* sleep() */
    :: atomic { step == Enqueue -> futex_enqueue(me, signal == ticket); slept = true; step = Sleep }
    :: atomic { step == Sleep && FUTEX_ENDS(me) && (!asleep[me] || ROUND_MAY_END) && !LET_GO(me) -> futex_end(me, round_over); step = Lock }
    :: atomic { step == Sleep && HAS_DEADLINE(me) -> asleep[me] = false; gives_up = true; step = Lock }
    :: atomic { step == Sleep && LET_GO(me) -> asleep[me] = false; step = Next }
    :: atomic { step == Resume ->
#ifndef FORGETS_SLEEPERS
        sleeping = true;
#endif
        step = Ready }

    /* announce() */
    :: atomic { step == Lower ->
        wakes = sleeping;
        sleeping = false;
        step = (wakes -> Signal : UnlockAndWake) }
    :: atomic { step == Signal -> signal++; step = UnlockAndWake }
    :: atomic { step == UnlockAndWake -> lock = 0; step = (wakes -> Wake : Receive) }
    :: atomic { step == Wake -> futex_wake_one(); step = Receive }
    /* Node::received: the item is its own */
    :: atomic { step == Receive -> claimed[me] = false; step = Next }

    :: atomic { step == Next ->
        turns--; ticket = 0; slept = false; wakes = false; round_over = false;
        step = Lock;
        if
        :: turns == 0 -> finished[me] = true; break
        :: else
        fi }
    od
  } unless { dead[me] }
}

init { atomic { run User(0); run User(1); run User(2) } }
