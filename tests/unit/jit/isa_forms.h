// SPDX-License-Identifier: Apache-2.0
//
// The instructions of the PTX manual (8.x) up to sm_80, form by form, and those that are refused. test_isa.c compiles
// them, and compares this list with the tables of ptx/.
//
//     in a form:  T the type of this turn · R0 … R9 a register of that type · W0 … one twice as wide · {a,b} turns too
#pragma once

#include <stddef.h>

struct isa_form {
    const char *text;  // statements
    const char *types; // of T, between blanks; NULL: no T
    unsigned sm;       // that the assembler is asked for; 0: it is not asked
};
extern const struct isa_form isa_runs[];
extern const size_t isa_run_count;

struct isa_refusal {
    const char *text, *why;
};
extern const struct isa_refusal isa_refused[];
extern const size_t isa_refused_count;

// All statements of a form, one a line; free() it.
char *isa_spell_out(const struct isa_form *form);

// Visits the name, with its modifiers, of each statement of every form; many more than once.
void isa_each_name(void (*visit)(const char *name, void *context), void *context);
