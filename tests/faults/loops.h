/* SPDX-License-Identifier: BSD-3-Clause */
/* loops.h - scenarios run again and again, the fault one call later each time. */
#ifndef BRIQ_TESTS_FAULTS_LOOPS_H
#define BRIQ_TESTS_FAULTS_LOOPS_H

/*
 * Runs the scenarios whose names begin with one of `names` (NULL ends them) with every fault their
 * calls can meet: the n-th call is spoiled, once or for ever, for n = 0, 1 ... until the scenario
 * runs through and the fault was not reached. Arguments: [SCENARIO [FAULT [once|ever [N]]]] picks.
 * With BRIQ_FAULT_STEP=N in the environment only about one call in N is, behind the first ones; which,
 * BRIQ_SEED decides. Returns the exit code of the program.
 */
int faults_main(int argc, char **argv, const char *const *names);

/* The same with a medium that lies. */
int lies_main(int argc, char **argv);

#endif
