/* src/sync/wait_list.cpp and condition.cpp: how a Condition's waiters are told. Process 0 notifies one at a time, three
   times; process 1 waits twice, process 2 once. There is one node for each process, so process 1 uses its own again.

   Shown: who has been notified goes on; what one had been told who is killed before wait() returns goes to another who
   waits; nobody else gets it.

   DEADLINE   process 2 may give up
   Wrong on purpose:
   DROPS          what the dead had been told is not passed on
   LEAVES_EARLY   a waiter leaves the list before it has the condition's lock again
   WAKES_ONLY     the word to sleep on is not changed before the wake-up
   NO_SECOND_LOOK who is about to sleep says so without looking whether it has been told meanwhile */

#define TURNS(me) (me == 2 -> 1 : (me == 1 -> 2 : 3))

/* The locks: of the condition and of its list. Both can be taken from a dead owner. Who waits for one gets it before
   those who sleep have slept out a round: without this, they could overtake it for ever, each time that it is free. */
bool wants_lock[3];

/* What must be so: who has been notified and not returned from wait(), and how many notifications of killed ones are to
   be passed on. */
bool told[3];
byte debt;

inline note_death(victim) {
  wants_lock[victim] = false;
  if
  :: told[victim] -> told[victim] = false; debt++
  :: else
  fi
}

#include "futex.pml"

#ifdef DEADLINE
#define HAS_DEADLINE(me) (me == 2)
#else
#define HAS_DEADLINE(me) false
#endif
#ifdef LIVENESS
#define ROUND_MAY_END (!wants_lock[0] && !wants_lock[1] && !wants_lock[2])
#else
#define ROUND_MAY_END true
#endif

byte user_lock, list_lock;
#define CAN_BE_TAKEN(lock) (lock == 0 || dead[lock - 1])

/* The nodes. */
bool listed[PROCESSES];
bool outcome[PROCESSES];
bool wake[PROCESSES];         /* kHear */
bool about_to_sleep[PROCESSES]; /* kAsleep: only then is the waker's system call made */

#define WAITS(node) (listed[node] && !outcome[node])
#define DEAD_IN_LIST ((listed[1] && dead[1]) || (listed[2] && dead[2]))

/* Who has been told nothing, and never will be, may rightly wait for ever, and is let go. */
#define LET_GO(me) (asleep[me] && !outcome[me] && debt == 0 && (finished[0] || dead[0]) && !DEAD_IN_LIST)

mtype = { WantUser, User, Enter, EnterUnlock, Release, WantList, List, Look, PassOn, Clear, Unlock, Store, Wake, Announce,
          Enqueue, Sleep, WantAgain, Again, WantLeave, LeaveList, Leave, LeaveUnlock, Return, Tell };

inline tell(node) {
  outcome[node] = true;
  to_wake[node] = true;
  if
  :: dead[node] -> debt++
  :: else -> told[node] = true
  fi
}

/* The oldest one of those who wait: any, here. */
inline tell_one() {
  if
  :: WAITS(1) -> tell(1)
  :: WAITS(2) -> tell(2)
  :: !WAITS(1) && !WAITS(2)
  fi
}

proctype Process(byte me) {
  mtype step = WantUser;
  mtype after_unlock;
  byte turns = TURNS(me);
  byte waking;
  bool round_over, gives_up, notified;
  bool to_wake[PROCESSES];
  {
    do
    :: atomic { step == WantUser -> wants_lock[me] = true; step = User }
    :: atomic { step == User && CAN_BE_TAKEN(user_lock) ->
        user_lock = me + 1; wants_lock[me] = false; step = WantList }
    :: atomic { step == WantList -> wants_lock[me] = true; step = List }
    :: atomic { step == List && CAN_BE_TAKEN(list_lock) ->
        list_lock = me + 1; wants_lock[me] = false;
        step = (me == 0 -> Tell : (listed[me] -> Look : Enter)) }

    /* Waiters::notify(): a look for the dead, or not; tell() and its commit are one step */
    :: atomic { step == Tell ->
        if
        :: DEAD_IN_LIST -> step = PassOn
        :: true -> tell_one(); after_unlock = Return; step = Unlock
        fi }

    /* Waiting: enter() and its commit; release_all() */
    :: atomic { step == Enter -> listed[me] = true; outcome[me] = false; step = EnterUnlock }
    :: atomic { step == EnterUnlock -> list_lock = 0; step = Release }
    :: atomic { step == Release -> user_lock = 0; step = WantList }

    /* LockedWaitList::wait() */
    :: atomic { step == Look ->
        if
        :: outcome[me] ->
#ifdef LEAVES_EARLY
          listed[me] = false; outcome[me] = false;
#endif
          after_unlock = WantAgain; step = Unlock
        :: !outcome[me] && DEAD_IN_LIST -> step = PassOn
        :: !outcome[me] && !(round_over && DEAD_IN_LIST) ->
          round_over = false;
          step = (gives_up -> Unlock : Clear);
          after_unlock = (gives_up -> WantAgain : Announce)
        fi }
    /* pass_on_from_the_dead(): one of them, in one commit */
    :: atomic { step == PassOn ->
        if
        :: listed[1] && dead[1] -> listed[1] = false; notified = outcome[1]; outcome[1] = false
        :: listed[2] && dead[2] -> listed[2] = false; notified = outcome[2]; outcome[2] = false
        :: else
        fi;
        if
        :: notified ->
#ifndef DROPS
          debt--;
          tell_one();
#endif
          notified = false
        :: else
        fi;
        step = (me == 0 -> Tell : Look) }
    :: atomic { step == Clear -> wake[me] = false; about_to_sleep[me] = false; step = Unlock }
    /* unlock(): wakes who has been told something */
    :: atomic { step == Unlock -> list_lock = 0; step = Store }
    :: atomic { step == Store ->
        if
        :: to_wake[1] -> waking = 1; step = Wake
        :: to_wake[2] -> waking = 2; step = Wake
        :: !to_wake[1] && !to_wake[2] -> step = after_unlock
        fi;
        if
        :: step == Wake ->
#ifndef WAKES_ONLY
          wake[waking] = true;
#endif
          if
          :: about_to_sleep[waking] ->
#ifndef WAKES_ONLY
            about_to_sleep[waking] = false
#else
            skip
#endif
          :: else -> to_wake[waking] = false; waking = 0; step = Store
          fi
        :: else
        fi
        }
    :: atomic { step == Wake -> asleep[waking] = false; to_wake[waking] = false; waking = 0; step = Store }
    /* sleep() */
    :: atomic { step == Announce ->
#ifdef NO_SECOND_LOOK
        wake[me] = false; about_to_sleep[me] = true; step = Enqueue
#else
        if
        :: wake[me] -> step = WantList
        :: else -> about_to_sleep[me] = true; step = Enqueue
        fi
#endif
        }
    :: atomic { step == Enqueue -> futex_enqueue(me, about_to_sleep[me]); step = Sleep }
    :: atomic { step == Sleep && FUTEX_ENDS(me) && (!asleep[me] || ROUND_MAY_END) && !LET_GO(me) ->
        futex_end(me, round_over); step = WantList }
    :: atomic { step == Sleep && HAS_DEADLINE(me) -> asleep[me] = false; gives_up = true; step = WantList }
    :: atomic { step == Sleep && LET_GO(me) -> asleep[me] = false; finished[me] = true; break }

    /* acquire_again(); leave() and its commit; release() by the caller */
    :: atomic { step == WantAgain -> wants_lock[me] = true; step = Again }
    :: atomic { step == Again && CAN_BE_TAKEN(user_lock) ->
        user_lock = me + 1; wants_lock[me] = false;
        step = (listed[me] -> WantLeave : Return) }
    :: atomic { step == WantLeave -> wants_lock[me] = true; step = LeaveList }
    :: atomic { step == LeaveList && CAN_BE_TAKEN(list_lock) ->
        list_lock = me + 1; wants_lock[me] = false; step = Leave }
    :: atomic { step == Leave ->
        assert(listed[me] && (outcome[me] || gives_up));
        listed[me] = false; outcome[me] = false; told[me] = false;
        step = LeaveUnlock }
    :: atomic { step == LeaveUnlock -> list_lock = 0; step = Return }

    :: atomic { step == Return ->
        user_lock = 0;
        turns--; gives_up = false; round_over = false; told[me] = false;
        step = WantUser;
        if
        :: turns == 0 -> finished[me] = true; break
        :: else
        fi }
    od
  } unless { dead[me] }
}

init { atomic { run Process(0); run Process(1); run Process(2) } }
