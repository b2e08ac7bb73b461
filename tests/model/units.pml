/* src/sync/units.cpp and semaphore_core.cpp: the word of a Semaphore whose units come back. Three processes take a
   unit and give it back.

   Shown: no unit is lost or invented, wherever processes die and whoever takes back what they had, two at once and one
   of these killed; nobody waits for ever.

   UNITS      how many there are; 1 unless given
   TURNS      how often the first process does it; 1 unless given
   DEADLINE   the third process may give up
   SIGNALS    the first process has all units at first and releases them one by one; the others keep what they get
   Wrong on purpose:
   FORGETS_SLEEPERS     who has slept does not raise the flag again when it takes a unit
   PASSES_NOTHING_ON    who has slept and leaves units does not wake the next one
   SETTLES_BLINDLY      a late copy overwrites a newer one: settle() without its comparison of versions
   DOES_NOT_SETTLE      another process changes the word without keeping what the former holder has
   FREES_FIRST          the record of a dead process is freed before its units are given back */

#ifndef UNITS
#define UNITS 1
#endif
#ifndef TURNS
#define TURNS 1
#endif
#ifdef DEADLINE
#define HAS_DEADLINE(me) (me == 2)
#else
#define HAS_DEADLINE(me) false
#endif
#ifdef SIGNALS
#define RELEASES_ONLY(me) (me == 0)
#define KEEPS(me) (me != 0)
#else
#define RELEASES_ONLY(me) false
#define KEEPS(me) false
#endif

byte having[3];   /* how many units each process has: what must be so */

inline note_death(victim) { skip }

#include "futex.pml"

/* The word. Its version is left out where only equality counts: see `version`. */
byte units = UNITS;
bool sleepers;
byte holder;       /* a place, which here is the process plus 1; 0: none */
byte taken;
byte version = 1;

/* The records: which processes have one, and settled. */
bool recorded[3];
byte settled_version[3];
byte settled_units[3];

/* Who has the arena's lock, plus 1, for take_back_from_the_dead(). It is robust: that of a dead one can be taken. */
byte arena_lock;

mtype = { Load, Settle, Change, PassOn, Flag, Enqueue, Sleep, Holds, Wake, Next,
          Rescue, RescueLoad, RescueSettle, GiveBack, RescueWake, FreeRecord, RescueNext };

/* One read of the whole word. (WideWord::load() reads two halves; ones that do not belong together make every exchange
   and hand_over()'s load_whole() fail, which is as if this step came later.) */
#define LOAD_WORD \
  now_units = units; now_sleepers = sleepers; now_holder = holder; now_taken = taken; now_version = version
#define SOMEBODY_TO_RESCUE \
  ((recorded[0] && dead[0]) || (recorded[1] && dead[1]) || (recorded[2] && dead[2]))
#define WORD_IS_NOW (version == now_version)

proctype User(byte me) {
  mtype step = Load;
  byte turns = (RELEASES_ONLY(me) -> UNITS : (me == 0 -> TURNS : 1));
  byte now_units, now_holder, now_taken, now_version, had, to_wake, looked_at;
  bool now_sleepers, slept, round_over, gives_up, releasing;
  releasing = RELEASES_ONLY(me);
  {
    do
    /* acquire() and release(): state.load() */
    :: atomic { step == Load ->
        LOAD_WORD;
        if
        :: releasing || now_units > 0 ->
          if
          :: now_holder == 0 || now_holder == me + 1 -> step = Change
          :: else -> step = Settle
          fi
        :: else ->
          /* look.due(), which is so after a whole round at the latest. With nobody dead a look changes nothing. */
          if
          :: SOMEBODY_TO_RESCUE -> step = Rescue
          :: !round_over || !SOMEBODY_TO_RESCUE -> step = Flag
          fi
        fi }
    /* hand_over(): load_whole() and settle(), whose loop ends when the exchange is made or a newer one is there */
    :: atomic { step == Settle ->
#ifndef DOES_NOT_SETTLE
        if
#ifndef SETTLES_BLINDLY
        :: settled_version[now_holder - 1] >= now_version -> skip
        :: settled_version[now_holder - 1] < now_version ->
#else
        :: true ->
#endif
          settled_version[now_holder - 1] = now_version;
          settled_units[now_holder - 1] = now_taken
        fi;
#endif
        step = Change }
    /* change(): reads its own record and exchanges. Nobody changes that record while the word names another. */
    :: atomic { step == Change ->
        had = (now_holder == me + 1 -> now_taken : settled_units[me]);
        if
        :: !WORD_IS_NOW -> step = Load
        :: WORD_IS_NOW && !releasing ->
          units = now_units - 1;
#ifdef FORGETS_SLEEPERS
          sleepers = now_sleepers;
#else
          sleepers = now_sleepers || slept;
#endif
          holder = me + 1; taken = had + 1; version++;
          having[me]++;
          assert(having[me] == taken);
          step = PassOn
        :: WORD_IS_NOW && releasing ->
          units = now_units + 1; sleepers = false;
          assert(units <= UNITS && had > 0);
          holder = me + 1; taken = had - 1; version++;
          having[me]--;
          to_wake = (now_sleepers -> 1 : 0);
          step = Wake
        fi }
    :: atomic { step == PassOn ->
#ifndef PASSES_NOTHING_ON
        if
        :: slept && now_units > 1 -> futex_wake_one()
        :: else
        fi;
#endif
        if
        :: KEEPS(me) -> step = Next
        :: !KEEPS(me) -> releasing = true; step = Load
        fi }
    :: atomic { step == Wake ->
        if
        :: to_wake > 0 -> futex_wake_one()
        :: else
        fi;
        step = Next }

    /* acquire() without units: the deadline, the flag, the sleep */
    :: atomic { step == Flag ->
        if
        :: HAS_DEADLINE(me) -> gives_up = true
        :: true
        fi;
        if
        :: gives_up && (!slept || now_sleepers) -> step = Next
        :: !gives_up && now_sleepers -> step = Enqueue
        :: !now_sleepers && !(gives_up && !slept) ->
          if
          :: WORD_IS_NOW ->
            sleepers = true; version++;
            step = (gives_up -> Next : Enqueue)
          :: else -> step = Load
          fi
        fi }
    :: atomic { step == Enqueue -> futex_enqueue(me, units == 0 && sleepers); slept = true; step = Sleep }
    :: atomic { step == Sleep && FUTEX_ENDS(me) -> futex_end(me, round_over); step = Load }
    :: atomic { step == Sleep && HAS_DEADLINE(me) -> asleep[me] = false; round_over = false; gives_up = true; step = Load }

    /* take_back_from_the_dead() */
    :: atomic { step == Rescue && (arena_lock == 0 || dead[arena_lock - 1]) ->
        arena_lock = me + 1; looked_at = 0; step = RescueNext }
    :: atomic { step == RescueNext ->
        if
        :: looked_at == 3 ->
          arena_lock = 0; looked_at = 0; round_over = false;
          step = Load
        :: looked_at < 3 && recorded[looked_at] && dead[looked_at] ->
#ifdef FREES_FIRST
          recorded[looked_at] = false;
#endif
          step = RescueLoad
        :: else -> looked_at++
        fi }
    /* give_back() */
    :: atomic { step == RescueLoad ->
        LOAD_WORD;
        step = (now_holder == 0 || now_holder == looked_at + 1 -> GiveBack : RescueSettle) }
    :: atomic { step == RescueSettle ->
        if
        :: settled_version[now_holder - 1] < now_version ->
          settled_version[now_holder - 1] = now_version;
          settled_units[now_holder - 1] = now_taken
        :: else
        fi;
        step = GiveBack }
    :: atomic { step == GiveBack ->
        had = (now_holder == looked_at + 1 -> now_taken : settled_units[looked_at]);
        if
        :: !WORD_IS_NOW -> step = RescueLoad
        :: WORD_IS_NOW && had == 0 -> step = FreeRecord
        :: WORD_IS_NOW && had > 0 ->
          units = now_units + had; sleepers = false;
          assert(units <= UNITS && had == having[looked_at]);
          having[looked_at] = 0;
          holder = looked_at + 1; taken = 0; version++;
          to_wake = (now_sleepers -> had : 0);
          step = RescueWake
        fi }
    :: atomic { step == RescueWake ->
        if
        :: to_wake > 0 -> futex_wake_one(); to_wake--
        :: to_wake == 0 -> step = FreeRecord
        fi }
    :: atomic { step == FreeRecord -> recorded[looked_at] = false; looked_at++; step = RescueNext }

    :: atomic { step == Next ->
        now_units = 0; now_sleepers = false; now_holder = 0; now_taken = 0; now_version = 0; had = 0; to_wake = 0;
        slept = false; round_over = false; gives_up = false; releasing = RELEASES_ONLY(me);
        turns--;
        step = Load;
        if
        :: turns == 0 -> finished[me] = true; break
        :: else
        fi }
    od
  } unless { dead[me] }
}

/* When all have come to their end, whoever wants units next first takes back those of the dead. What is then there and
   what the dead have that can be taken back is exactly what there was. */
active proctype Last() {
  byte place, all;
  atomic {
    (finished[0] || dead[0]) && (finished[1] || dead[1]) && (finished[2] || dead[2]) ->
    all = units;
    for (place : 0 .. 2) {
      if
      :: recorded[place] && dead[place] -> all = all + (holder == place + 1 -> taken : settled_units[place])
      :: recorded[place] && !dead[place] -> all = all + having[place]
      :: !recorded[place] -> assert(having[place] == 0)
      fi
    }
    assert(all == UNITS)
  }
}

init {
  atomic {
    recorded[0] = true; recorded[1] = true; recorded[2] = true;
#ifdef SIGNALS
    units = 0; holder = 1; taken = UNITS; having[0] = UNITS;
#endif
    run User(0); run User(1); run User(2)
  }
}
