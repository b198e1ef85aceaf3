/*
 * Protocol P0 by interleaving: whatever a writer at full speed does with three blocks, a reader
 * that is stopped anywhere for any time believes nothing that was not true during its lookup.
 *
 * One key and a second one that takes its blocks. The writer changes the key N_CHANGES times; a
 * block goes to the quarantine when it is unlinked, is stamped at the end of the batch, and is
 * given out again at any moment after that (the quarantine's time is no part of the proof), to
 * this key or to the other. A posting is two words, written one after the other. Memory orders are
 * not the subject here: publication.c has them.
 *
 * What each reader does is shm/read.h; the writer is shm/arena.c and writer/apply/lane.c.
 */
#define NO_END_CHECK   1 /* the reader believes whatever it saw */
#define LATE_WATERMARK 2 /* W is raised when the block has been overwritten */
#define SAME_BATCH     3 /* a block is given out in the batch that unlinked it */
#define EARLY_EPOCH    4 /* E is bumped before the unlinking */
#ifndef SABOTAGE
#define SABOTAGE 0
#endif

#ifndef N_CHANGES
#define N_CHANGES 4
#endif
#ifndef N_READERS
#define N_READERS 1
#endif
#define N_BLOCKS  3
#define N_LOOKUPS 2
#define N_TRIES   2
#define NONE      15
#define FOREIGN   14

mtype = {FREE, LINKED, PENDING, STAMPED};

byte half[N_BLOCKS], other_half[N_BLOCKS];
mtype state[N_BLOCKS] = FREE;
byte stamp[N_BLOCKS];
byte word = NONE; /* the block that the key's value word names */
byte E = 1, W = 0;
byte version = 0; /* published; version 0: absent */
byte known = 0; /* acknowledged, or told by a reader that believed it */

#define may_be_taken(b) \
        (state[b] == FREE || state[b] == STAMPED || (SABOTAGE == SAME_BATCH && state[b] == PENDING))

inline raise_watermark(b)
{
        if
        :: state[b] == STAMPED && stamp[b] > W -> W = stamp[b]
        :: else
        fi
}

inline fill(b, content) /* a block for new bytes: W first, when it was used before (A1, A2) */
{
        if
        :: atomic { may_be_taken(0) -> b = 0 }
        :: atomic { may_be_taken(1) -> b = 1 }
        :: atomic { may_be_taken(2) -> b = 2 }
        fi;
        if
        :: SABOTAGE != LATE_WATERMARK -> raise_watermark(b)
        :: else
        fi;
        half[b] = content;
        other_half[b] = content;
        raise_watermark(b)
}

inline bump(b)
{
        d_step {
                state[b] = STAMPED;
                stamp[b] = E + 1
        };
        E = E + 1
}

active proctype writer()
{
        byte fresh, foreign, old = NONE, i;

        do
        :: i < N_CHANGES ->
                i++;
                fill(fresh, i);
                if
                :: SABOTAGE == EARLY_EPOCH && old != NONE -> bump(old)
                :: else
                fi;
                d_step {
                        word = fresh;
                        version = i;
                        state[fresh] = LINKED
                };
                if
                :: SABOTAGE != EARLY_EPOCH && old != NONE -> state[old] = PENDING
                :: else
                fi;
                if /* in the same batch, a block for the other key, or not */
                :: fill(foreign, FOREIGN);
                   if
                   :: state[foreign] == STAMPED -> state[foreign] = FREE
                   :: else
                   fi
                :: true
                fi;
                if
                :: SABOTAGE != EARLY_EPOCH && old != NONE -> bump(old)
                :: else
                fi;
                atomic {
                        if
                        :: i > known -> known = i
                        :: else
                        fi
                };
                old = fresh
        :: else -> break
        od
}

active [N_READERS] proctype reader()
{
        byte e, w, a, b, least, tries, lookups;

        do
        :: lookups == N_LOOKUPS -> break
        :: lookups < N_LOOKUPS && tries == N_TRIES ->
                lookups++; /* -EAGAIN is no answer */
                tries = 0
        :: lookups < N_LOOKUPS && tries < N_TRIES ->
                atomic {
                        if
                        :: tries == 0 -> least = known
                        :: else
                        fi;
                        e = E
                };
                w = word;
                if
                :: w == NONE ->
                        a = 0;
                        b = 0
                :: else ->
                        a = half[w];
                        b = other_half[w]
                fi;
                if
                :: atomic {
                        W <= e || SABOTAGE == NO_END_CHECK ->
                        assert(a == b);       /* no mixture */
                        assert(a >= least);   /* not older than what was known */
                        assert(a <= version); /* nothing that was not published */
                        if
                        :: a > known -> known = a
                        :: else
                        fi;
                        a = 0;
                        b = 0;
                        tries = 0;
                        lookups++
                   }
                :: else -> tries++
                fi
        od
}
