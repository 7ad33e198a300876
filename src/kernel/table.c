// SPDX-License-Identifier: Apache-2.0
//
// The tables behind the enums: operations from ops.def, types, and the names of everything that the printed
// form shows.

#include "internal.h"

static const struct {
    const char *name;
    uint8_t dsts, srcs, flags;
} ops[] = {
#define PURE     TW_KIR_PURE
#define MEM      TW_KIR_MEM
#define TERM     TW_KIR_TERM
#define SYNC     TW_KIR_SYNC
#define WARP     TW_KIR_WARP
#define VARIADIC TW_KIR_VARIADIC
#define TW_KIR_OP(op, text, dst_count, src_count, flag_bits)                                                 \
    [TW_KIR_##op] = {.name = (text), .dsts = (dst_count), .srcs = (src_count), .flags = (flag_bits)},
#include "kernel/ops.def"
#undef TW_KIR_OP
#undef PURE
#undef MEM
#undef TERM
#undef SYNC
#undef WARP
#undef VARIADIC
};

enum { SIGNED = 1, FLOAT = 2 };

static const struct {
    const char *name;
    uint8_t bits, kind;
} types[] = {
    [TW_KIR_PRED] = {"pred", 1, 0},
    [TW_KIR_B8] = {"b8", 8, 0},
    [TW_KIR_B16] = {"b16", 16, 0},
    [TW_KIR_B32] = {"b32", 32, 0},
    [TW_KIR_B64] = {"b64", 64, 0},
    [TW_KIR_B128] = {"b128", 128, 0},
    [TW_KIR_U8] = {"u8", 8, 0},
    [TW_KIR_U16] = {"u16", 16, 0},
    [TW_KIR_U32] = {"u32", 32, 0},
    [TW_KIR_U64] = {"u64", 64, 0},
    [TW_KIR_S8] = {"s8", 8, SIGNED},
    [TW_KIR_S16] = {"s16", 16, SIGNED},
    [TW_KIR_S32] = {"s32", 32, SIGNED},
    [TW_KIR_S64] = {"s64", 64, SIGNED},
    [TW_KIR_F16] = {"f16", 16, FLOAT},
    [TW_KIR_F16X2] = {"f16x2", 32, FLOAT},
    [TW_KIR_BF16] = {"bf16", 16, FLOAT},
    [TW_KIR_BF16X2] = {"bf16x2", 32, FLOAT},
    [TW_KIR_TF32] = {"tf32", 32, FLOAT},
    [TW_KIR_F32] = {"f32", 32, FLOAT},
    [TW_KIR_F64] = {"f64", 64, FLOAT},
    [TW_KIR_E4M3X2] = {"e4m3x2", 16, FLOAT},
    [TW_KIR_E5M2X2] = {"e5m2x2", 16, FLOAT},
    [TW_KIR_S4] = {"s4", 4, SIGNED},
    [TW_KIR_U4] = {"u4", 4, 0},
    [TW_KIR_B1] = {"b1", 1, 0},
    [TW_KIR_S2] = {"s2", 2, SIGNED},
    [TW_KIR_U2] = {"u2", 2, 0},
};

static const char *const spaces[] = {NULL, "global", "shared", "local", "const", "param"};
static const char *const rounds[] = {NULL, "rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi"};
static const char *const cmps[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                   "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
static const char *const combines[] = {NULL, "with_and", "with_or", "with_xor"};
static const char *const mods[] = {"ftz",     "sat",   "approx", "full",     "nanprop",  "xorsign",
                                   "relu",    "hi",    "wrap",   "shiftamt", "volatile", "aligned",
                                   "uniform", "trans", "nc",     "mixed",    "sparse",   "ordered"};
static const char *const orders[] = {NULL, "relaxed", "acquire", "release", "acq_rel", "sc"};
static const char *const scopes[] = {NULL, "gpu", "sys"};
static const char *const atoms[] = {"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"};
static const char *const mbarriers[] = {"init",         "inval",     "arrive",      "arrive_staying", "drop",
                                        "drop_staying", "test_wait", "test_parity", "pending"};
static const char *const shfls[] = {"up", "down", "bfly", "idx"};
static const char *const votes[] = {"all", "any", "uni", "ballot"};
static const char *const reduces[] = {"add", "min", "max", "and", "or", "xor", "popc"};
static const char *const prmts[] = {NULL, "f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
static const char *const testps[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};
static const char *const shapes[] = {"m8n8k4",   "m8n8k16",  "m8n8k32",  "m8n8k128",  "m16n8k4",  "m16n8k8",
                                     "m16n8k16", "m16n8k32", "m16n8k64", "m16n8k128", "m16n8k256"};
static const char *const matches[] = {"any", "all"};
static const char *const sregs[] = {
    [TW_KIR_TID_X] = "tid.x",
    [TW_KIR_TID_Y] = "tid.y",
    [TW_KIR_TID_Z] = "tid.z",
    [TW_KIR_NTID_X] = "ntid.x",
    [TW_KIR_NTID_Y] = "ntid.y",
    [TW_KIR_NTID_Z] = "ntid.z",
    [TW_KIR_CTAID_X] = "ctaid.x",
    [TW_KIR_CTAID_Y] = "ctaid.y",
    [TW_KIR_CTAID_Z] = "ctaid.z",
    [TW_KIR_NCTAID_X] = "nctaid.x",
    [TW_KIR_NCTAID_Y] = "nctaid.y",
    [TW_KIR_NCTAID_Z] = "nctaid.z",
    [TW_KIR_LANEID] = "laneid",
    [TW_KIR_WARPID] = "warpid",
    [TW_KIR_NWARPID] = "nwarpid",
    [TW_KIR_SMID] = "smid",
    [TW_KIR_NSMID] = "nsmid",
    [TW_KIR_GRIDID] = "gridid",
    [TW_KIR_LANEMASK_EQ] = "lanemask_eq",
    [TW_KIR_LANEMASK_LT] = "lanemask_lt",
    [TW_KIR_LANEMASK_LE] = "lanemask_le",
    [TW_KIR_LANEMASK_GT] = "lanemask_gt",
    [TW_KIR_LANEMASK_GE] = "lanemask_ge",
    [TW_KIR_CLOCK] = "clock",
    [TW_KIR_CLOCK_HI] = "clock_hi",
    [TW_KIR_CLOCK64] = "clock64",
    [TW_KIR_GLOBALTIMER] = "globaltimer",
    [TW_KIR_GLOBALTIMER_LO] = "globaltimer_lo",
    [TW_KIR_GLOBALTIMER_HI] = "globaltimer_hi",
    [TW_KIR_DYNAMIC_SMEM_SIZE] = "dynamic_smem_size",
    [TW_KIR_TOTAL_SMEM_SIZE] = "total_smem_size",
};

#define NAMES(array) ((struct kernel_names){(array), TW_COUNT(array)})

const struct kernel_names kernel_spaces = {spaces, TW_COUNT(spaces)};
const struct kernel_names kernel_rounds = {rounds, TW_COUNT(rounds)};
const struct kernel_names kernel_cmps = {cmps, TW_COUNT(cmps)};
const struct kernel_names kernel_combines = {combines, TW_COUNT(combines)};
const struct kernel_names kernel_mods = {mods, TW_COUNT(mods)};
const struct kernel_names kernel_orders = {orders, TW_COUNT(orders)};
const struct kernel_names kernel_scopes = {scopes, TW_COUNT(scopes)};
const struct kernel_names kernel_atoms = {atoms, TW_COUNT(atoms)};
const struct kernel_names kernel_sregs = {sregs, TW_COUNT(sregs)};

struct kernel_names kernel_modes(uint8_t op) {
    if (op == TW_KIR_SHFL)
        return NAMES(shfls);
    if (op == TW_KIR_VOTE)
        return NAMES(votes);
    if (op == TW_KIR_BARRED || op == TW_KIR_REDUX)
        return NAMES(reduces);
    if (op == TW_KIR_PRMT)
        return NAMES(prmts);
    if (op == TW_KIR_TESTP)
        return NAMES(testps);
    if (op == TW_KIR_MATCH)
        return NAMES(matches);
    if (op == TW_KIR_MMA)
        return NAMES(shapes);
    if (op == TW_KIR_MBARRIER)
        return NAMES(mbarriers);
    return (struct kernel_names){};
}

bool kernel_name_find(struct kernel_names names, struct tw_str text, uint8_t *ret_value) {
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.items[i];
        if (name && strlen(name) == text.len && memcmp(name, text.data, text.len) == 0) {
            *ret_value = (uint8_t)i;
            return true;
        }
    }
    return false;
}

bool kernel_type_find(struct tw_str text, uint8_t *ret_type) {
    for (unsigned i = 0; i < TW_KIR_TYPE_COUNT; i++)
        if (strlen(types[i].name) == text.len && memcmp(types[i].name, text.data, text.len) == 0) {
            *ret_type = (uint8_t)i;
            return true;
        }
    return false;
}

bool kernel_op_find(struct tw_str text, uint8_t *ret_op) {
    for (unsigned i = 0; i < TW_KIR_OP_COUNT; i++)
        if (strlen(ops[i].name) == text.len && memcmp(ops[i].name, text.data, text.len) == 0) {
            *ret_op = (uint8_t)i;
            return true;
        }
    return false;
}

const char *tw_kir_op_name(enum tw_kir_op op) {
    return op < TW_KIR_OP_COUNT ? ops[op].name : "?";
}

unsigned tw_kir_op_flags(enum tw_kir_op op) {
    return op < TW_KIR_OP_COUNT ? ops[op].flags : 0;
}

unsigned kernel_op_dsts(uint8_t op) {
    return ops[op].dsts;
}

unsigned kernel_op_srcs(uint8_t op) {
    return ops[op].srcs;
}

const char *tw_kir_type_name(enum tw_kir_type type) {
    return type < TW_KIR_TYPE_COUNT ? types[type].name : "?";
}

unsigned tw_kir_type_bits(enum tw_kir_type type) {
    return type < TW_KIR_TYPE_COUNT ? types[type].bits : 0;
}

bool tw_kir_type_is_float(enum tw_kir_type type) {
    return type < TW_KIR_TYPE_COUNT && (types[type].kind & FLOAT) != 0;
}

bool tw_kir_type_is_signed(enum tw_kir_type type) {
    return type < TW_KIR_TYPE_COUNT && (types[type].kind & SIGNED) != 0;
}

uint8_t tw_kir_bits_type(unsigned bits) {
    return bits == 1     ? TW_KIR_PRED
           : bits == 8   ? TW_KIR_B8
           : bits == 16  ? TW_KIR_B16
           : bits == 32  ? TW_KIR_B32
           : bits == 128 ? TW_KIR_B128
                         : TW_KIR_B64;
}
