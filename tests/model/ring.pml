/* src/sync/ring.hpp, ring.cpp, ring_members.cpp, ring_queue_core.cpp: a Queue. Of three processes the first PUTTERS put
   ITEMS items each, RUN with one claim if there is room; the others take until the end. Something closes the queue at any
   time and dies before it has marked the end. A chunk has 4 slots, of which 3 can be items; there are CHUNKS of them.

   Shown: an item is taken once, if its put was committed, and its bytes stay while they are read; in the order of each
   putter, but for those that came back; the end comes when nothing can come any more; everybody comes to it, whoever is
   killed where, also those who settle what a dead one left.

   PAIR       there is no third process
   CAPACITY   items in a bounded queue; 0, unless given: no bound
   Wrong on purpose:
   IGNORES_FRONT      a slot whose number the front has not passed is claimed, if it is empty
   IGNORES_NEXT       a slot is claimed without a look at the next one
   TRUSTS_TAIL        the end is not read again behind the slot
   PUBLISHES_FIRST    an item is published before it is counted
   EMPTIES_EARLY      a slot is emptied before its item is counted as taken
   FIRST_FIRST        of several claimed with one step, the first is published and emptied first
   CLAIMS_PUT_ONLY    a dead putter's slots are made items, whether counted or not
   TELLS_END_EARLY    the end is told when all that was counted is taken, though a put may be under way
   SETTLES_BLINDLY    the lock of a dead one who settled is not taken
   TICKET_TOO_LATE    the ticket is read when the flag is raised already
   NO_SECOND_LOOK     who is about to sleep does not look again
   FORGETS_SLEEPERS   who has slept does not raise the flag again */

inline note_death(victim) { skip }

#include "futex.pml"

#ifndef PUTTERS
#define PUTTERS 1
#endif
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef RUN
#define RUN 1
#endif
#ifndef CHUNKS
#define CHUNKS 1
#endif
#ifndef CAPACITY
#define CAPACITY 0
#endif
#define SLOTS (4 * CHUNKS)
#define NOBODY 7

mtype = { Empty, Filling, Full, Taking, Returned, Hole, Jump, End };

/* The word of a slot, and its bytes. */
typedef Slot { mtype phase; byte who; byte length; byte seq; byte item }
Slot slot[SLOTS];
byte head_seq = 1, head_at, tail_seq = 1, tail_at;

/* Participants. */
byte puts[PROCESSES], put_mark[PROCESSES], gets[PROCESSES], get_mark[PROCESSES];
bool closed, returned;
byte lock;  /* who has it, plus 1; robust */
#ifdef SETTLES_BLINDLY
#define LOCK_CAN_BE_TAKEN (lock == 0)
#else
#define LOCK_CAN_BE_TAKEN (lock == 0 || dead[lock - 1])
#endif
/* The WaitPoint of items. */
byte signal;
bool sleeping;

/* What the outside sees. An item is its putter's number and its own, from 1 on. */
#define ITEM(putter, nth) (1 + (putter) * ITEMS + (nth))
#define PUTTER_OF(item) (((item) - 1) / ITEMS)
#define ALL_ITEMS (PUTTERS * ITEMS + 1)
bool committed[ALL_ITEMS], taken[ALL_ITEMS];
byte last_claimed[PUTTERS];
bool ended;

#define ALL_COUNTED_TAKEN (puts[0] + puts[1] + puts[2] == gets[0] + gets[1] + gets[2])
#define IS_CLAIMED(phase) (phase == Filling || phase == Taking)
#define UNSETTLED(p) (dead[p] && (put_mark[p] != 0 || get_mark[p] != 0))
#ifdef IGNORES_FRONT
#define BEFORE_FRONT(its_seq) true
#else
#define BEFORE_FRONT(its_seq) ((its_seq) < seat_head)
#endif
#ifdef IGNORES_NEXT
#define NEXT_IS_FREE(at) true
#else
#define NEXT_IS_FREE(at) IS_FREE(at)
#endif
#define IS_FREE(at) \
  ((slot[at].phase == Empty || slot[at].phase == Hole || slot[at].phase == Jump) && BEFORE_FRONT(slot[at].seq))

/* --- the local variables of a process, and steps that several members share */

inline load_slot(at) {
  w_phase = slot[at].phase; w_who = slot[at].who; w_length = slot[at].length; w_seq = slot[at].seq
}
#define UNCHANGED(at) \
  (slot[at].phase == w_phase && slot[at].who == w_who && slot[at].length == w_length && slot[at].seq == w_seq)
inline set_word(at, phase_, who_, length_, seq_) {
  slot[at].phase = phase_; slot[at].who = who_; slot[at].length = length_; slot[at].seq = seq_
}
/* behind(): where the end goes from a used slot. */
inline help(end_seq, end_at) {
  if
  :: end_seq == seq && end_at == at ->
    if
    :: w_phase == Jump -> end_at = w_who * 4
    :: w_phase != Jump && IS_CLAIMED(w_phase) -> end_seq = seq + w_length; end_at = at + w_length
    :: else -> end_seq = seq + 1; end_at = at + 1
    fi
  :: else
  fi
}
/* advance(), advance_in_steps(): `count` items on, wherever between the end stands. */
inline advance(end_seq, end_at) {
  if
  :: end_seq >= seq && end_seq < seq + count -> end_at = at + count; end_seq = seq + count
  :: else
  fi
}

proctype User(byte me) {
  mtype w_phase = Empty;
  byte w_who, w_length, w_seq;
  byte seq, at, count, done, i, victim, chunk, item, item2, ticket, seat_head = 1;
  mtype front = Empty;
  bool slept, round_over;
  byte other;
  {
    if
    :: me < PUTTERS -> goto put
    :: else -> goto get
    fi;

    /* --- claim_puts() */
put:
    atomic {
      if
      :: closed && done == 0 -> goto leave  /* Putting::Putting() */
      :: else
      fi;
      put_mark[me] = puts[me] + 1
    }
claim_put:
    atomic { seq = tail_seq; at = tail_at; count = 0 }
    atomic { load_slot(at) }
    atomic {
#ifndef TRUSTS_TAIL
      if
      :: tail_seq != seq || tail_at != at -> goto claim_put
      :: else
      fi;
#endif
      if
      :: w_seq == seq && w_phase == End -> goto leave
      :: w_seq == seq && w_phase != End -> help(tail_seq, tail_at); goto claim_put
      :: else
      fi;
      /* is_full(), with the front as this thread saw it last */
      if
      :: CAPACITY != 0 && seq - seat_head >= CAPACITY -> goto look_at_head
      :: else
      fi
    }
    /* next_is_free(), free_run(); free_chunk(). A ring that may not grow further goes round until somebody frees a slot. */
    atomic {
      if
      :: at % 4 != 3 && NEXT_IS_FREE(at + 1) ->
        if
        :: RUN == 2 && done + 1 < ITEMS && at % 4 < 2 && IS_FREE(at + 2) &&
           (CAPACITY == 0 || seq + 1 - seat_head < CAPACITY) -> count = 2
        :: else -> count = 1
        fi;
        goto take_slot
      :: else
      fi;
      if
      :: seat_head != head_seq -> seat_head = head_seq; goto claim_put
      :: else
      fi;
      chunk = 0;
      do
      :: chunk < CHUNKS && !(IS_FREE(4 * chunk) && IS_FREE(4 * chunk + 1) && !(at / 4 == chunk && at % 4 < 2)) -> chunk++
      :: else -> break
      od;
      if
      :: chunk == CHUNKS -> chunk = 0; goto look_at_head
      :: else
      fi
    }
    atomic {
      if
      :: UNCHANGED(at) -> set_word(at, Jump, chunk, 1, seq)
      :: else
      fi;
      chunk = 0;
      goto claim_put
    }
look_at_head:
    /* is_still_full() helps the front on */
    atomic { at = head_at; seq = head_seq; load_slot(at) }
    atomic {
      if
      :: w_seq == seq && w_phase != Filling && w_phase != Full && w_phase != End -> help(head_seq, head_at)
      :: else
      fi;
      seat_head = head_seq;
      if
      :: closed && !UNSETTLED(0) && !UNSETTLED(1) && !UNSETTLED(2) -> goto leave  /* waits no more in vain */
      :: UNSETTLED(0) || UNSETTLED(1) || UNSETTLED(2) -> goto wait
      :: else -> goto claim_put
      fi
    }
take_slot:
    /* The bytes are written as early as can be; set_behind() when the slot is to be counted. */
    atomic {
      if
      :: UNCHANGED(at) ->
        set_word(at, Filling, me, count, seq);
        slot[at].item = ITEM(me, done);
        if
        :: count == 2 -> slot[at + 1].item = ITEM(me, done + 1)
        :: else
        fi
      :: else -> goto claim_put
      fi
    }

    /* --- publish() */
    atomic {
      if
      :: count == 2 -> set_word(at + 1, Filling, me, 1, seq + 1)
      :: else
      fi;
#ifdef PUBLISHES_FIRST
      set_word(at, Full, 0, 1, seq)
    }
    atomic {
#endif
      assert(!ended);
      puts[me] = puts[me] + count;
      committed[ITEM(me, done)] = true;
      if
      :: count == 2 -> committed[ITEM(me, done + 1)] = true
      :: else
      fi
    }
#ifdef FIRST_FIRST
    atomic { set_word(at, Full, 0, 1, seq) }
    if
    :: count == 2 -> set_word(at + 1, Full, 0, 1, seq + 1)
    :: else
    fi;
#else
    if
    :: atomic { count == 2 -> set_word(at + 1, Full, 0, 1, seq + 1) }
    :: else
    fi;
#ifndef PUBLISHES_FIRST
    atomic { set_word(at, Full, 0, 1, seq) }
#endif
#endif
    atomic { put_mark[me] = 0; advance(tail_seq, tail_at); done = done + count; w_phase = Empty; w_who = 0; w_length = 0; w_seq = 0; seq = 0; at = 0 }
    /* announce() */
    atomic {
      if
      :: sleeping -> sleeping = false
      :: else -> goto next_put
      fi
    }
    signal = (signal + 1) % 8;
    atomic {
      if
      :: count == 2 -> futex_wake_all()
      :: else -> futex_wake_one()
      fi
    }
next_put:
    atomic {
      count = 0;
      if
      :: done < ITEMS -> goto put
      :: else -> goto leave
      fi
    }

    /* --- claim_item(), claim_gets() */
get:
    atomic {
      get_mark[me] = gets[me] + 1; count = 0; front = Empty;
      if
      :: returned -> goto take_back
      :: else
      fi
    }
claim_get:
    atomic { seq = head_seq; at = head_at }
    atomic {
      load_slot(at);
      if
      :: w_seq == seq && w_phase == Full && !(RUN == 2 && at % 4 < 3) -> count = 1; goto claim_full
      :: w_seq == seq && w_phase == Full && RUN == 2 && at % 4 < 3 -> goto look_behind
      :: else
      fi
    }
    atomic {
      if
      :: head_seq != seq || head_at != at -> goto claim_get
      :: else
      fi;
      if
      :: w_seq == seq && w_phase != Filling && w_phase != End -> help(head_seq, head_at); goto claim_get
      :: w_seq == seq && (w_phase == End || w_phase == Filling) -> front = w_phase; goto nothing
      :: else -> goto nothing
      fi
    }
look_behind:
    atomic {
      if
      :: slot[at + 1].phase == Full && slot[at + 1].seq == seq + 1 -> count = 2
      :: else -> count = 1
      fi
    }
claim_full:
    atomic {
      if
      :: UNCHANGED(at) ->
        set_word(at, Taking, me, count, seq);
        item = slot[at].item; item2 = 0;
        assert(item > last_claimed[PUTTER_OF(item)]);
        last_claimed[PUTTER_OF(item)] = item;
        if
        :: count == 2 ->
          item2 = slot[at + 1].item;
          assert(item2 > last_claimed[PUTTER_OF(item2)]);
          last_claimed[PUTTER_OF(item2)] = item2
        :: else
        fi
      :: else -> goto claim_get
      fi
    }
    atomic { advance(head_seq, head_at); goto receive }

    /* --- take_returned(), under the lock */
take_back:
    atomic { LOCK_CAN_BE_TAKEN -> lock = me + 1 }
    atomic {
      at = SLOTS; i = 0;
      do
      :: i < SLOTS ->
        if
        :: slot[i].phase == Returned && (at == SLOTS || slot[i].seq < slot[at].seq) -> at = i
        :: else
        fi;
        i++
      :: else -> break
      od;
      i = 0;
      if
      :: at == SLOTS -> returned = false; at = 0
      :: else -> seq = slot[at].seq; set_word(at, Taking, me, 1, seq); item = slot[at].item; item2 = 0; count = 1
      fi
    }
    atomic {
      lock = 0;
      if
      :: count == 0 -> goto claim_get
      :: else
      fi
    }

    /* --- receive(), keep() */
receive:
#ifdef EMPTIES_EARLY
    atomic { set_word(at, Empty, 0, 1, seq) }
#endif
    atomic {
      assert(slot[at].item == item && committed[item] && !taken[item]);
      taken[item] = true;
      if
      :: item2 != 0 -> assert(slot[at + 1].item == item2 && committed[item2] && !taken[item2]); taken[item2] = true
      :: else
      fi;
      gets[me] = gets[me] + count
    }
#ifdef FIRST_FIRST
    atomic { set_word(at, Empty, 0, 1, seq) }
#endif
    if
    :: atomic { count == 2 -> set_word(at + 1, Empty, 0, 1, seq + 1) }
    :: else
    fi;
    atomic {
#ifndef FIRST_FIRST
      set_word(at, Empty, 0, 1, seq);
#endif
      item = 0; item2 = 0; count = 0
    }
    atomic {
      get_mark[me] = 0; w_phase = Empty; w_who = 0; w_length = 0; w_seq = 0; seq = 0; at = 0;
      /* Who waits for the end of a closed queue waits for this one, too: wake_everybody() */
      if
      :: closed -> sleeping = false; signal = (signal + 1) % 8; futex_wake_all(); slept = false; goto get
      :: !closed && !slept -> goto get
      :: else -> slept = false
      fi
    }
    /* pass_on() */
    atomic {
      if
      :: slot[head_at].seq == head_seq && (slot[head_at].phase == Full || slot[head_at].phase == End) && sleeping ->
        sleeping = false; signal = (signal + 1) % 8
      :: else -> goto get
      fi
    }
    atomic { futex_wake_one(); goto get }

    /* --- nothing there: the end, or wait */
nothing:
    atomic {
      get_mark[me] = 0; w_phase = Empty; w_who = 0; w_length = 0; w_seq = 0; seq = 0; at = 0;
      if
      :: !closed -> goto wait
      :: else
      fi;
#ifdef TELLS_END_EARLY
      if
      :: ALL_COUNTED_TAKEN -> goto drained
      :: else
      fi;
#endif
      if
      :: front == End -> goto is_drained
      :: else
      fi
    }
put_end:
    atomic { seq = tail_seq; at = tail_at }
    atomic { load_slot(at) }
    atomic {
      if
      :: tail_seq != seq || tail_at != at -> goto put_end
      :: else
      fi;
      if
      :: w_seq == seq && w_phase != End -> help(tail_seq, tail_at); goto put_end
      :: w_seq == seq && w_phase == End -> goto end_is_put
      :: else
      fi
    }
    atomic {
      if
      :: UNCHANGED(at) -> set_word(at, End, 0, 1, seq)
      :: else -> goto put_end
      fi
    }
end_is_put:
    atomic {
      w_phase = Empty; w_who = 0; w_length = 0; w_seq = 0; seq = 0; at = 0;
      if
      :: front == Filling -> goto wait
      :: else -> goto get
      fi
    }
is_drained:
    atomic { LOCK_CAN_BE_TAKEN -> lock = me + 1 }
    atomic {
      lock = 0;
      if
      :: ALL_COUNTED_TAKEN -> goto drained
      :: else -> goto wait
      fi
    }
drained:
    atomic {
      /* Nothing that was put is left. */
      ended = true;
      i = 1;
      do
      :: i < ALL_ITEMS -> assert(!committed[i] || taken[i]); i++
      :: else -> break
      od;
      i = 0;
      goto leave
    }

    /* --- settle_dead_claims() */
wait:
    atomic {
      front = Empty; w_phase = Empty; w_who = 0; w_length = 0; w_seq = 0; seq = 0; at = 0;
      if
      :: UNSETTLED(0) -> victim = 0
      :: UNSETTLED(1) -> victim = 1
      :: UNSETTLED(2) -> victim = 2
      :: else -> goto prepare
      fi
    }
    atomic { LOCK_CAN_BE_TAKEN -> lock = me + 1; at = 0 }
settle:
    /* each slot of the victim's, those behind the first of a run before it */
    atomic {
      do
      :: at < SLOTS && !(slot[at].who == victim && IS_CLAIMED(slot[at].phase)) -> at++
      :: at < SLOTS && slot[at].who == victim && IS_CLAIMED(slot[at].phase) ->
        i = slot[at].length; seq = slot[at].seq; goto settle_run
      :: at == SLOTS -> goto settled
      od
    }
settle_run:
    atomic {
      i--;
      other = at + i;
      if
      :: slot[at].phase == Filling ->
        if
#ifdef CLAIMS_PUT_ONLY
        :: true -> set_word(other, Full, 0, 1, seq + i)
#else
        :: puts[victim] + 1 == put_mark[victim] -> set_word(other, Hole, 0, 1, seq + i)
        :: puts[victim] + 1 != put_mark[victim] ->
          if
          :: slot[other].phase == Filling && slot[other].who == victim && slot[other].seq == seq + i ->
            set_word(other, Full, 0, 1, seq + i)
          :: else
          fi
#endif
        fi
      :: slot[at].phase == Taking && (i == 0 || (slot[other].phase == Full && slot[other].seq == seq + i)) ->
        if
        :: gets[victim] + 1 == get_mark[victim] -> set_word(other, Returned, 0, 1, seq + i); returned = true
        :: else -> set_word(other, Empty, 0, 1, seq + i)
        fi
      :: else
      fi;
      other = 0;
      if
      :: i == 0 -> at++; goto settle
      :: else -> goto settle_run
      fi
    }
settled:
    atomic { put_mark[victim] = 0; get_mark[victim] = 0; victim = 0; at = 0; seq = 0 }
    atomic { lock = 0; sleeping = false; signal = (signal + 1) % 8; futex_wake_all() }
    atomic {
      if
      :: me < PUTTERS -> goto claim_put
      :: else -> goto get
      fi
    }

    /* --- prepare(), the second look, sleep(), resume() */
prepare:
#ifdef TICKET_TOO_LATE
    sleeping = true;
    ticket = signal;
#else
    ticket = signal;
    sleeping = true;
#endif
#ifndef NO_SECOND_LOOK
    atomic {
      if
      :: returned || (slot[head_at].seq == head_seq && slot[head_at].phase != Filling &&
                      !(slot[head_at].phase == End && !ALL_COUNTED_TAKEN)) ||
         (closed && slot[head_at].seq != head_seq) -> ticket = 0; goto get
      :: else
      fi
    }
#endif
    atomic { futex_enqueue(me, signal == ticket); slept = true; ticket = 0 }
    atomic { FUTEX_ENDS(me) -> futex_end(me, round_over); round_over = false }
    atomic {
#ifndef FORGETS_SLEEPERS
      sleeping = true;
#endif
      goto get
    }
leave:
    atomic { put_mark[me] = 0; finished[me] = true }
  } unless { dead[me] }
}

#ifdef PAIR
#define RUN_THIRD finished[2] = true
#else
#define RUN_THIRD run User(2)
#endif

/* close(), whose process dies before it has marked the end. */
proctype Closer() {
  closed = true;
  atomic { sleeping = false; signal = (signal + 1) % 8; futex_wake_all() }
}

init { atomic { atomic { byte k; k = 0; do :: k < SLOTS -> slot[k].phase = Empty; slot[k].length = 1; k++ :: else -> break od }; run User(0); run User(1); RUN_THIRD; run Closer() } }
