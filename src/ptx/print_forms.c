// SPDX-License-Identifier: Apache-2.0
//
// Instructions that are a name, modifiers, types, a result and its sources, from one table; and the two with
// grammars of their own, cvt and setp.

#include "print.h"

// By operation: the name; the sources' types, a letter each: t the type, u 32 bits, p predicate; and which
// types PTX has for it: i integers (bits become unsigned), b bits, m bits where a float is no .f32 or .f64.
static const struct {
    const char *name, *sources;
    char types;
} forms[TW_KIR_OP_COUNT] = {
    [TW_KIR_SELECT] = {"selp", "ttp", 'm'},
    [TW_KIR_ADD] = {"add", "tt", 'i'},
    [TW_KIR_SUB] = {"sub", "tt", 'i'},
    [TW_KIR_MUL] = {"mul", "tt", 'i'},
    [TW_KIR_MULHI] = {"mul.hi", "tt", 'i'},
    [TW_KIR_MULWIDE] = {"mul.wide", "tt", 'i'},
    [TW_KIR_MUL24] = {"mul24", "tt", 'i'},
    [TW_KIR_DIV] = {"div", "tt", 'i'},
    [TW_KIR_REM] = {"rem", "tt", 'i'},
    [TW_KIR_MIN] = {"min", "tt", 'i'},
    [TW_KIR_MAX] = {"max", "tt", 'i'},
    [TW_KIR_ABS] = {"abs", "t", 'i'},
    [TW_KIR_NEG] = {"neg", "t", 'i'},
    [TW_KIR_NOT] = {"not", "t", 'b'},
    [TW_KIR_CNOT] = {"cnot", "t", 'b'},
    [TW_KIR_AND] = {"and", "tt", 'b'},
    [TW_KIR_OR] = {"or", "tt", 'b'},
    [TW_KIR_XOR] = {"xor", "tt", 'b'},
    [TW_KIR_SHL] = {"shl", "tu", 'b'},
    [TW_KIR_SHR] = {"shr", "tu", 'm'},
    [TW_KIR_SHFL_L] = {"shf.l", "ttu", 'b'},
    [TW_KIR_SHFL_R] = {"shf.r", "ttu", 'b'},
    [TW_KIR_BFE] = {"bfe", "tuu", 'i'},
    [TW_KIR_BFI] = {"bfi", "ttuu", 'b'},
    [TW_KIR_BFIND] = {"bfind", "t", 'i'},
    [TW_KIR_BREV] = {"brev", "t", 'b'},
    [TW_KIR_CLZ] = {"clz", "t", 'b'},
    [TW_KIR_POPC] = {"popc", "t", 'b'},
    [TW_KIR_PRMT] = {"prmt", "ttt", 'b'},
    [TW_KIR_LOP3] = {"lop3", "ttt", 'b'},
    [TW_KIR_SAD] = {"sad", "ttt", 'i'},
    [TW_KIR_DP4A] = {"dp4a", "uuu", 'i'},
    [TW_KIR_DP2A] = {"dp2a", "uuu", 'i'},
    [TW_KIR_SZEXT] = {"szext", "tu", 'i'},
    [TW_KIR_BMSK] = {"bmsk", "tt", 'b'},
    [TW_KIR_FMA] = {"fma", "ttt", 'i'},
    [TW_KIR_SQRT] = {"sqrt", "t", 'i'},
    [TW_KIR_RCP] = {"rcp", "t", 'i'},
    [TW_KIR_RSQRT] = {"rsqrt", "t", 'i'},
    [TW_KIR_SIN] = {"sin", "t", 'i'},
    [TW_KIR_COS] = {"cos", "t", 'i'},
    [TW_KIR_EX2] = {"ex2", "t", 'i'},
    [TW_KIR_LG2] = {"lg2", "t", 'i'},
    [TW_KIR_TANH] = {"tanh", "t", 'i'},
    [TW_KIR_COPYSIGN] = {"copysign", "tt", 'i'},
    [TW_KIR_TESTP] = {"testp", "t", 'i'},
};

static const char *const rounds[] = {"", ".rn", ".rz", ".rm", ".rp", ".rna", ".rni", ".rzi", ".rmi", ".rpi"};
const char *ptx_print_round(uint8_t round) {
    return rounds[round];
}

static const char *const prmts[] = {"", ".f4e", ".b4e", ".rc8", ".ecl", ".ecr", ".rc16"};
static const char *const testps[] = {".finite",     ".infinite", ".number",
                                     ".notanumber", ".normal",   ".subnormal"};

static uint8_t type_as(uint8_t type, char types) {
    bool bits = type >= TW_KIR_B8 && type <= TW_KIR_B64;
    if (types == 'b' && type != TW_KIR_PRED)
        return tw_kir_bits_type(tw_kir_type_bits(type));
    if (types == 'i' && bits)
        return ptx_integer_type(tw_kir_type_bits(type), false);
    if (types == 'm' && tw_kir_type_is_float(type) && type != TW_KIR_F32 && type != TW_KIR_F64)
        return tw_kir_bits_type(tw_kir_type_bits(type));
    return type;
}

// The modifier that stands right behind the name.
static const char *leading(const struct tw_kir_inst *inst) {
    bool is_float = tw_kir_type_is_float(inst->type);
    switch ((int)inst->op) {
    case TW_KIR_MUL:
        return is_float ? "" : ".lo";
    case TW_KIR_MUL24:
    case TW_KIR_DP2A:
        return inst->mods & TW_KIR_HI ? ".hi" : ".lo";
    case TW_KIR_SHFL_L:
    case TW_KIR_SHFL_R:
    case TW_KIR_SZEXT:
    case TW_KIR_BMSK:
        return inst->mods & TW_KIR_WRAP ? ".wrap" : ".clamp";
    case TW_KIR_BFIND:
        return inst->mods & TW_KIR_SHIFTAMT ? ".shiftamt" : "";
    case TW_KIR_RSQRT:
    case TW_KIR_SIN:
    case TW_KIR_COS:
    case TW_KIR_EX2:
    case TW_KIR_LG2:
    case TW_KIR_TANH:
        return ".approx";
    case TW_KIR_TESTP:
        return testps[inst->mode];
    case TW_KIR_FMA:
        return inst->round ? "" : ".rn";
    case TW_KIR_DIV:
    case TW_KIR_SQRT:
    case TW_KIR_RCP:
        if (!is_float || inst->round)
            return "";
        return inst->mods & TW_KIR_APPROX ? ".approx" : inst->mods & TW_KIR_FULL ? ".full" : ".rn";
    default:
        return "";
    }
}

// Rounding and what follows it, in the order of PTX's grammar.
static bool modifiers(struct ptx_printer *p, const char *saturates) {
    const struct tw_kir_inst *inst = p->inst;
    const struct {
        uint32_t mod;
        const char *text;
    } all[] = {{TW_KIR_FTZ, ".ftz"},
               {TW_KIR_NANPROP, ".NaN"},
               {TW_KIR_XORSIGN, ".xorsign.abs"},
               {TW_KIR_SAT, saturates},
               {TW_KIR_RELU, ".relu"}};
    if (!ptx_put(p, rounds[inst->round]))
        return false;
    for (size_t i = 0; i < TW_COUNT(all); i++)
        if (inst->mods & all[i].mod && !ptx_put(p, all[i].text))
            return false;
    return true;
}

static bool put_type(struct ptx_printer *p, uint8_t type) {
    return ptx_put(p, ".") && ptx_put(p, tw_kir_type_name(type));
}

// There are no literals of the floats of 16 bits and of 128 bits.
static bool literal(struct ptx_printer *p, struct tw_kir_operand *value, uint8_t type) {
    bool is_float = tw_kir_type_is_float(type) && type != TW_KIR_F32 && type != TW_KIR_F64;
    return !(is_float || type == TW_KIR_B128) || ptx_in_register(p, value, type);
}

bool ptx_print_form(struct ptx_printer *p, const struct tw_kir_operand *given, bool *ret_done) {
    const struct tw_kir_inst *inst = p->inst;
    const char *name = forms[inst->op].name, *sources = forms[inst->op].sources;
    struct tw_kir_operand src[4];
    uint8_t type = type_as(inst->type, forms[inst->op].types), types[4];
    *ret_done = name != NULL;
    if (!name)
        return true;
    for (unsigned i = 0; i < inst->src_count; i++) {
        src[i] = given[i];
        types[i] = sources[i] == 't' ? type : sources[i] == 'u' ? TW_KIR_U32 : TW_KIR_PRED;
        if (!literal(p, &src[i], types[i]))
            return false;
    }
    bool second = inst->op == TW_KIR_DP4A || inst->op == TW_KIR_DP2A;
    if (!ptx_put_guard(p) || !ptx_put(p, name) || !ptx_put(p, leading(inst)) || !modifiers(p, ".sat") ||
        !put_type(p, type) || (second && !put_type(p, type_as(inst->type2, 'i'))) ||
        (inst->op == TW_KIR_PRMT && !ptx_put(p, prmts[inst->mode])) || !ptx_put(p, " ") ||
        !ptx_put_reg(p, inst->dst[0]))
        return false;
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!ptx_put(p, ", ") || !ptx_put_value(p, src[i], types[i]))
            return false;
    if (inst->op == TW_KIR_LOP3 && !tw_buf_printf(&p->body, ", 0x%02x", (unsigned)inst->offset & 255))
        return ptx_print_full(p);
    return ptx_put(p, ";\n");
}

// ---- cvt ----

// What the parser insists on where the IR leaves the rounding to the default.
static const char *default_round(const struct tw_kir_inst *inst) {
    bool from = tw_kir_type_is_float(inst->type2), to = tw_kir_type_is_float(inst->type);
    bool narrows = tw_kir_type_bits(inst->type) < tw_kir_type_bits(inst->type2);
    if (inst->round)
        return "";
    return from && !to ? ".rni" : to && (!from || narrows || inst->src_count == 2) ? ".rn" : "";
}

bool ptx_print_cvt(struct ptx_printer *p, const struct tw_kir_operand *given) {
    const struct tw_kir_inst *inst = p->inst;
    struct tw_kir_operand src[2] = {given[0], inst->src_count > 1 ? given[1] : given[0]};
    uint8_t to = type_as(inst->type, 'i'), from = type_as(inst->type2, 'i');
    bool finite = to == TW_KIR_E4M3X2 || to == TW_KIR_E5M2X2 || to == TW_KIR_TF32;
    struct ptx_pointer place = ptx_pointer_of(p, &src[0]);
    uint32_t target = inst->dst[0];
    bool generic = p->pointers && p->pointers[target].is_generic && ptx_pointer_is_definite(place) &&
                   ptx_print_bits(p, target) == 64 && (src[0].is_imm || ptx_print_bits(p, src[0].reg) == 32);
    if (generic) // half an address of its space, which only then becomes generic
        target = ptx_print_temp(p, 64);
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!literal(p, &src[i], from) ||
            (src[i].is_imm && from <= TW_KIR_B8 && !ptx_in_register(p, &src[i], from)))
            return false;
    if (!ptx_put_guard(p) || !ptx_put(p, "cvt") || !ptx_put(p, default_round(inst)) ||
        !modifiers(p, finite ? ".satfinite" : ".sat") || !put_type(p, to) || !put_type(p, from) ||
        !ptx_put(p, " ") || !ptx_put_reg(p, target))
        return false;
    for (unsigned i = 0; i < inst->src_count; i++)
        if (!ptx_put(p, ", ") || !ptx_put_value(p, src[i], from))
            return false;
    if (!ptx_put(p, ";\n"))
        return false;
    return !generic ||
           ptx_say_guarded(p, "cvta.#.u64 #, #",
                           PTX_PIECES(PTX_T(ptx_home_name(place.may)), PTX_R(inst->dst[0]), PTX_R(target)));
}

// ---- setp ----

bool ptx_print_setp(struct ptx_printer *p, const struct tw_kir_operand *given) {
    static const char *const compares[] = {".eq",  ".ne",  ".lt",  ".le",  ".gt",  ".ge",  ".equ",
                                           ".neu", ".ltu", ".leu", ".gtu", ".geu", ".num", ".nan"};
    static const char *const combines[] = {"", ".and", ".or", ".xor"};
    const struct tw_kir_inst *inst = p->inst;
    struct tw_kir_operand a = given[0], b = given[1];
    uint8_t type = type_as(inst->type, inst->cmp > TW_KIR_NE ? 'i' : 'm');
    if (tw_kir_type_is_float(inst->type))
        type = inst->type;
    if (!literal(p, &a, type) || !literal(p, &b, type) || !ptx_put_guard(p) || !ptx_put(p, "setp") ||
        !ptx_put(p, compares[inst->cmp]) || !ptx_put(p, combines[inst->combine]) || !modifiers(p, "") ||
        !put_type(p, type) || !ptx_put(p, " ") || !ptx_put_reg(p, inst->dst[0]))
        return false;
    if (inst->dst_count == 2 && !(ptx_put(p, "|") && ptx_put_reg(p, inst->dst[1])))
        return false;
    if (!ptx_put(p, ", ") || !ptx_put_value(p, a, type) || !ptx_put(p, ", ") || !ptx_put_value(p, b, type))
        return false;
    if (inst->combine) {
        struct tw_kir_operand c = given[2];
        if (c.is_imm && inst->combine_not)
            c.bits ^= 1;
        if (!ptx_put(p, !c.is_imm && inst->combine_not ? ", !" : ", ") || !ptx_put_value(p, c, TW_KIR_PRED))
            return false;
    }
    return ptx_put(p, ";\n");
}
