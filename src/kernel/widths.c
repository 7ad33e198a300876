// SPDX-License-Identifier: Apache-2.0
//
// How wide each operand of each operation is, and which types it takes: the part of the contract of ops.def
// that the verifier checks.

#include "internal.h"

// Results = sources, a letter each, the last one for all that follow: t the type's width, w twice it, 2 the
// second type's, / an equal part of the type, p a predicate, u 32 bits, a an address of 64, r 32 bits or a
// predicate by inst->mode, * any.
static const char *const widths[TW_KIR_OP_COUNT] = {
    [TW_KIR_MOV] = "t=t",       [TW_KIR_SREG] = "t=",       [TW_KIR_ADDR] = "a=",
    [TW_KIR_LDPARAM] = "t=",    [TW_KIR_PARAMADDR] = "a=",  [TW_KIR_SELECT] = "t=ttp",
    [TW_KIR_PACK] = "t=/",      [TW_KIR_UNPACK] = "/=t",    [TW_KIR_ADD] = "t=t",
    [TW_KIR_SUB] = "t=t",       [TW_KIR_MUL] = "t=t",       [TW_KIR_MULHI] = "t=t",
    [TW_KIR_MULWIDE] = "w=t",   [TW_KIR_MUL24] = "u=u",     [TW_KIR_ADDC] = "tp=ttp",
    [TW_KIR_SUBC] = "tp=ttp",   [TW_KIR_DIV] = "t=t",       [TW_KIR_REM] = "t=t",
    [TW_KIR_MIN] = "t=t",       [TW_KIR_MAX] = "t=t",       [TW_KIR_ABS] = "t=t",
    [TW_KIR_NEG] = "t=t",       [TW_KIR_NOT] = "t=t",       [TW_KIR_CNOT] = "t=t",
    [TW_KIR_AND] = "t=t",       [TW_KIR_OR] = "t=t",        [TW_KIR_XOR] = "t=t",
    [TW_KIR_SHL] = "t=tu",      [TW_KIR_SHR] = "t=tu",      [TW_KIR_SHFL_L] = "t=ttu",
    [TW_KIR_SHFL_R] = "t=ttu",  [TW_KIR_BFE] = "t=tu",      [TW_KIR_BFI] = "t=ttu",
    [TW_KIR_BFIND] = "u=t",     [TW_KIR_BREV] = "t=t",      [TW_KIR_CLZ] = "u=t",
    [TW_KIR_POPC] = "u=t",      [TW_KIR_PRMT] = "t=t",      [TW_KIR_LOP3] = "t=t",
    [TW_KIR_SAD] = "t=t",       [TW_KIR_DP4A] = "u=u",      [TW_KIR_DP2A] = "u=u",
    [TW_KIR_SZEXT] = "t=tu",    [TW_KIR_BMSK] = "t=t",      [TW_KIR_FMA] = "t=t",
    [TW_KIR_SQRT] = "t=t",      [TW_KIR_RCP] = "t=t",       [TW_KIR_RSQRT] = "t=t",
    [TW_KIR_SIN] = "t=t",       [TW_KIR_COS] = "t=t",       [TW_KIR_EX2] = "t=t",
    [TW_KIR_LG2] = "t=t",       [TW_KIR_TANH] = "t=t",      [TW_KIR_COPYSIGN] = "t=t",
    [TW_KIR_TESTP] = "p=t",     [TW_KIR_SETP] = "p=ttp",    [TW_KIR_CVT] = "t=2",
    [TW_KIR_LD] = "t=a",        [TW_KIR_ST] = "=at",        [TW_KIR_ATOM] = "t=at",
    [TW_KIR_CPASYNC] = "=aau",  [TW_KIR_MBARRIER] = "m=an", [TW_KIR_FENCE] = "=",
    [TW_KIR_ISSPACE] = "p=a",   [TW_KIR_BAR] = "=u",        [TW_KIR_BARARRIVE] = "=u",
    [TW_KIR_BARRED] = "r=pu",   [TW_KIR_WARPSYNC] = "=u",   [TW_KIR_SHFL] = "tp=tu",
    [TW_KIR_VOTE] = "r=pu",     [TW_KIR_MATCH] = "up=tu",   [TW_KIR_REDUX] = "t=tu",
    [TW_KIR_ACTIVEMASK] = "u=", [TW_KIR_ELECT] = "up=u",    [TW_KIR_MMA] = "*=*",
    [TW_KIR_LDMATRIX] = "u=a",  [TW_KIR_MOVMATRIX] = "u=u", [TW_KIR_CALL] = "*=*",
    [TW_KIR_PRINTF] = "u=a",    [TW_KIR_TRAP] = "=",        [TW_KIR_NANOSLEEP] = "=u",
    [TW_KIR_BR] = "=",          [TW_KIR_BRC] = "=p",        [TW_KIR_BRX] = "=u",
    [TW_KIR_RET] = "=",         [TW_KIR_EXIT] = "=",
};

static unsigned letter_bits(const struct tw_kir_inst *inst, char letter, unsigned parts) {
    unsigned bits = tw_kir_type_bits(inst->type);
    switch (letter) {
    case 't':
        return bits;
    case 'w':
        return bits * 2;
    case '2':
        return tw_kir_type_bits(inst->type2);
    case '/':
        return parts ? bits / parts : bits;
    case 'p':
        return 1;
    case 'u':
        return 32;
    case 'a':
        return 64;
    case 'r':
        return inst->mode == (inst->op == TW_KIR_VOTE ? (int)TW_KIR_VOTE_BALLOT : (int)TW_KIR_RED_POPC) ? 32
                                                                                                        : 1;
    case 'm':
        return inst->mode >= TW_KIR_MBARRIER_PENDING ? 32 : inst->mode >= TW_KIR_MBARRIER_TEST ? 1 : 64;
    case 'n':
        return inst->mode == TW_KIR_MBARRIER_TEST ? 64 : 32;
    default:
        return 0;
    }
}

unsigned kernel_dst_bits(const struct tw_kir_inst *inst, unsigned index) {
    const char *letters = widths[inst->op];
    size_t count = strcspn(letters, "=");
    return count ? letter_bits(inst, letters[index < count ? index : count - 1], inst->dst_count) : 0;
}

unsigned kernel_src_bits(const struct tw_kir_inst *inst, unsigned index) {
    const char *letters = strchr(widths[inst->op], '=') + 1;
    size_t count = strlen(letters);
    return count ? letter_bits(inst, letters[index < count ? index : count - 1], inst->src_count) : 0;
}

bool kernel_type_fits(uint8_t op, uint8_t type) {
    static const uint8_t floats_only[] = {TW_KIR_FMA,  TW_KIR_SQRT,     TW_KIR_RCP,  TW_KIR_RSQRT,
                                          TW_KIR_SIN,  TW_KIR_COS,      TW_KIR_EX2,  TW_KIR_LG2,
                                          TW_KIR_TANH, TW_KIR_COPYSIGN, TW_KIR_TESTP};
    static const uint8_t integers_only[] = {
        TW_KIR_MULHI, TW_KIR_MULWIDE, TW_KIR_MUL24,  TW_KIR_ADDC,   TW_KIR_SUBC, TW_KIR_REM, TW_KIR_CNOT,
        TW_KIR_SHL,   TW_KIR_SHR,     TW_KIR_SHFL_L, TW_KIR_SHFL_R, TW_KIR_BFE,  TW_KIR_BFI, TW_KIR_BFIND,
        TW_KIR_BREV,  TW_KIR_CLZ,     TW_KIR_POPC,   TW_KIR_PRMT,   TW_KIR_LOP3, TW_KIR_SAD, TW_KIR_DP4A,
        TW_KIR_DP2A,  TW_KIR_SZEXT,   TW_KIR_BMSK,   TW_KIR_REDUX,
    };
    static const uint8_t arithmetic[] = {TW_KIR_ADD, TW_KIR_SUB, TW_KIR_MUL, TW_KIR_DIV,
                                         TW_KIR_MIN, TW_KIR_MAX, TW_KIR_ABS, TW_KIR_NEG};
    bool is_float = tw_kir_type_is_float(type);
    bool plain_float = is_float && type < TW_KIR_E4M3X2 && type != TW_KIR_TF32;
    if (type >= TW_KIR_S4)
        return false;
    for (size_t i = 0; i < TW_COUNT(floats_only); i++)
        if (floats_only[i] == op)
            return plain_float;
    for (size_t i = 0; i < TW_COUNT(integers_only); i++)
        if (integers_only[i] == op)
            return !is_float && type != TW_KIR_PRED && type != TW_KIR_B128;
    for (size_t i = 0; i < TW_COUNT(arithmetic); i++)
        if (arithmetic[i] == op)
            return (plain_float || !is_float) && type != TW_KIR_PRED && type != TW_KIR_B128;
    return true;
}
