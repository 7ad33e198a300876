// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of the kernel IR: operations (from the table ops.def), types, state spaces, modifiers and
// special registers. A part of kernel.h, which tells what they are for.
#pragma once

#include "base/base.h"

enum tw_kir_flag {
    TW_KIR_PURE = 1,
    TW_KIR_MEM = 2,
    TW_KIR_TERM = 4,
    TW_KIR_SYNC = 8,
    TW_KIR_WARP = 16,
    TW_KIR_VARIADIC = 32
};

enum tw_kir_op {
#define TW_KIR_OP(op, name, dsts, srcs, flags) TW_KIR_##op,
#include "kernel/ops.def"
#undef TW_KIR_OP
    TW_KIR_OP_COUNT
};

enum tw_kir_type {
    TW_KIR_PRED,
    TW_KIR_B8,
    TW_KIR_B16,
    TW_KIR_B32,
    TW_KIR_B64,
    TW_KIR_B128,
    TW_KIR_U8,
    TW_KIR_U16,
    TW_KIR_U32,
    TW_KIR_U64,
    TW_KIR_S8,
    TW_KIR_S16,
    TW_KIR_S32,
    TW_KIR_S64,
    TW_KIR_F16,
    TW_KIR_F16X2,
    TW_KIR_BF16,
    TW_KIR_BF16X2,
    TW_KIR_TF32,
    TW_KIR_F32,
    TW_KIR_F64,
    TW_KIR_E4M3X2,
    TW_KIR_E5M2X2,
    TW_KIR_S4, // these three are elements of matrices only (type2 of MMA)
    TW_KIR_U4,
    TW_KIR_B1,
    TW_KIR_S2, // and these of PTX only
    TW_KIR_U2,
    TW_KIR_TYPE_COUNT
};
const char *tw_kir_type_name(enum tw_kir_type type); // "s32"
unsigned tw_kir_type_bits(enum tw_kir_type type);    // 1 for PRED
bool tw_kir_type_is_float(enum tw_kir_type type);
bool tw_kir_type_is_signed(enum tw_kir_type type);
uint8_t tw_kir_bits_type(unsigned bits); // the untyped one of a width: 1 → pred, 32 → b32

enum tw_kir_space { TW_KIR_GENERIC, TW_KIR_GLOBAL, TW_KIR_SHARED, TW_KIR_LOCAL, TW_KIR_CONST, TW_KIR_PARAM };

// EQ…GE are signed, unsigned or ordered float by the type; the U forms are unordered floats. LO LS HI HS of
// PTX become LT LE GT GE of an unsigned type.
enum tw_kir_cmp {
    TW_KIR_EQ,
    TW_KIR_NE,
    TW_KIR_LT,
    TW_KIR_LE,
    TW_KIR_GT,
    TW_KIR_GE,
    TW_KIR_EQU,
    TW_KIR_NEU,
    TW_KIR_LTU,
    TW_KIR_LEU,
    TW_KIR_GTU,
    TW_KIR_GEU,
    TW_KIR_NUM,
    TW_KIR_NAN
};
enum tw_kir_combine { TW_KIR_COMBINE_NONE, TW_KIR_COMBINE_AND, TW_KIR_COMBINE_OR, TW_KIR_COMBINE_XOR };

// DEFAULT: nearest even, and an add/mul may be contracted into an fma; RN forbids contraction. The …I forms
// round to integers (cvt).
enum tw_kir_round {
    TW_KIR_ROUND_DEFAULT,
    TW_KIR_RN,
    TW_KIR_RZ,
    TW_KIR_RM,
    TW_KIR_RP,
    TW_KIR_RNA,
    TW_KIR_RNI,
    TW_KIR_RZI,
    TW_KIR_RMI,
    TW_KIR_RPI
};

// Bits of inst->mods.
enum tw_kir_mod {
    TW_KIR_FTZ = 1,
    TW_KIR_SAT = 2,
    TW_KIR_APPROX = 4,
    TW_KIR_FULL = 8,
    TW_KIR_NANPROP = 16,
    TW_KIR_XORSIGN = 32,
    TW_KIR_RELU = 64,
    TW_KIR_HI = 128,
    TW_KIR_WRAP = 256,
    TW_KIR_SHIFTAMT = 512,
    TW_KIR_VOLATILE = 1024,
    TW_KIR_ALIGNED = 2048,
    TW_KIR_UNIFORM = 4096,
    TW_KIR_TRANS = 8192,
    TW_KIR_NONCOHERENT = 16384,
    TW_KIR_MIXED = 32768,   // mma: b has the other sign than a
    TW_KIR_SPARSE = 65536,  // mma: a comes without its zeros, and indices say where they were
    TW_KIR_ORDERED = 131072 // sparse: the indices of a chunk rise
};

enum tw_kir_order { TW_KIR_WEAK, TW_KIR_RELAXED, TW_KIR_ACQUIRE, TW_KIR_RELEASE, TW_KIR_ACQ_REL, TW_KIR_SC };
enum tw_kir_scope { TW_KIR_CTA, TW_KIR_GPU, TW_KIR_SYS };
enum tw_kir_atom {
    TW_KIR_ATOM_ADD,
    TW_KIR_ATOM_MIN,
    TW_KIR_ATOM_MAX,
    TW_KIR_ATOM_AND,
    TW_KIR_ATOM_OR,
    TW_KIR_ATOM_XOR,
    TW_KIR_ATOM_EXCH,
    TW_KIR_ATOM_CAS,
    TW_KIR_ATOM_INC,
    TW_KIR_ATOM_DEC
};
enum tw_kir_shfl { TW_KIR_SHFL_UP, TW_KIR_SHFL_DOWN, TW_KIR_SHFL_BFLY, TW_KIR_SHFL_IDX };
enum tw_kir_vote { TW_KIR_VOTE_ALL, TW_KIR_VOTE_ANY, TW_KIR_VOTE_UNI, TW_KIR_VOTE_BALLOT };
enum tw_kir_reduce {
    TW_KIR_RED_ADD,
    TW_KIR_RED_MIN,
    TW_KIR_RED_MAX,
    TW_KIR_RED_AND,
    TW_KIR_RED_OR,
    TW_KIR_RED_XOR,
    TW_KIR_RED_POPC
};
enum tw_kir_prmt {
    TW_KIR_PRMT_DEFAULT,
    TW_KIR_PRMT_F4E,
    TW_KIR_PRMT_B4E,
    TW_KIR_PRMT_RC8,
    TW_KIR_PRMT_ECL,
    TW_KIR_PRMT_ECR,
    TW_KIR_PRMT_RC16
};
enum tw_kir_testp {
    TW_KIR_TESTP_FINITE,
    TW_KIR_TESTP_INFINITE,
    TW_KIR_TESTP_NUMBER,
    TW_KIR_TESTP_NOTANUMBER,
    TW_KIR_TESTP_NORMAL,
    TW_KIR_TESTP_SUBNORMAL
};

// What is done to a barrier in shared memory. ARRIVE and DROP give its state; the STAYING forms say that others are
// still to come. PENDING looks at a state instead of an address.
enum tw_kir_mbarrier {
    TW_KIR_MBARRIER_INIT,
    TW_KIR_MBARRIER_INVAL,
    TW_KIR_MBARRIER_ARRIVE,
    TW_KIR_MBARRIER_ARRIVE_STAYING,
    TW_KIR_MBARRIER_DROP,
    TW_KIR_MBARRIER_DROP_STAYING,
    TW_KIR_MBARRIER_TEST,
    TW_KIR_MBARRIER_TEST_PARITY,
    TW_KIR_MBARRIER_PENDING
};

// Shapes of matrix products, m × n × k.
enum tw_kir_mma {
    TW_KIR_M8N8K4,
    TW_KIR_M8N8K16,
    TW_KIR_M8N8K32,
    TW_KIR_M8N8K128,
    TW_KIR_M16N8K4,
    TW_KIR_M16N8K8,
    TW_KIR_M16N8K16,
    TW_KIR_M16N8K32,
    TW_KIR_M16N8K64,
    TW_KIR_M16N8K128,
    TW_KIR_M16N8K256,
    TW_KIR_MMA_COUNT
};

// Special registers; x, y, z of a triple follow one another.
enum tw_kir_sreg {
    TW_KIR_TID_X,
    TW_KIR_TID_Y,
    TW_KIR_TID_Z,
    TW_KIR_NTID_X,
    TW_KIR_NTID_Y,
    TW_KIR_NTID_Z,
    TW_KIR_CTAID_X,
    TW_KIR_CTAID_Y,
    TW_KIR_CTAID_Z,
    TW_KIR_NCTAID_X,
    TW_KIR_NCTAID_Y,
    TW_KIR_NCTAID_Z,
    TW_KIR_LANEID,
    TW_KIR_WARPID,
    TW_KIR_NWARPID,
    TW_KIR_SMID,
    TW_KIR_NSMID,
    TW_KIR_GRIDID,
    TW_KIR_LANEMASK_EQ,
    TW_KIR_LANEMASK_LT,
    TW_KIR_LANEMASK_LE,
    TW_KIR_LANEMASK_GT,
    TW_KIR_LANEMASK_GE,
    TW_KIR_CLOCK,
    TW_KIR_CLOCK_HI,
    TW_KIR_CLOCK64,
    TW_KIR_GLOBALTIMER,
    TW_KIR_GLOBALTIMER_LO,
    TW_KIR_GLOBALTIMER_HI,
    TW_KIR_DYNAMIC_SMEM_SIZE,
    TW_KIR_TOTAL_SMEM_SIZE,
    TW_KIR_SREG_COUNT
};
