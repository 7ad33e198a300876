// SPDX-License-Identifier: Apache-2.0
//
// What tw_interp_load refuses. Each test breaks one thing of a program that is right, and looks for the reason: without its check
// the program would be accepted, or refused for another one.

#include "harness/test.h"
#include "maker.h"

// A row, a constant and a zero; a guarded move; a branch of each kind; a list.
static void make_good(struct maker *m) {
    maker_init(m);
    uint32_t a = maker_constant(m, 7, 4), b = maker_row(m), p = maker_bit(m, 0), index = maker_row(m);
    m->zeros[m->zero_count++] = (struct tw_interp_zero){.row = index, .bytes = 128};
    maker_block(m);
    MAKE(m, TW_INTERP_GUARD, 1 << 1, p);
    maker_move(m, b, a);
    MAKE(m, TW_INTERP_UNGUARD, 0);
    MAKE(m, TW_INTERP_BRC, 0, p, 1, 2, 2, 3);
    maker_block(m);
    MAKE(m, TW_INTERP_BRX, 0, index, 2, 2, 3, 3, 4);
    maker_block(m);
    MAKE(m, TW_INTERP_BR, 0, 3, 4);
    maker_block(m);
    MAKE(m, TW_INTERP_END, 0);
    m->info.spill_bytes = m->reg_bytes;
}

static bool load_bytes(struct tw_span bytes, const struct tw_kernel_info *info, struct tw_error *err) {
    struct tw_interp_program *program = NULL;
    bool ok = tw_interp_load(bytes, info, &program, err);
    ck_assert_int_eq(program != NULL, ok);
    tw_interp_program_done(program);
    return ok;
}

static bool load(const struct maker *m, struct tw_error *err) {
    struct tw_span bytes = maker_bytes(m);
    bool ok = load_bytes(bytes, &m->info, err);
    free((void *)(uintptr_t)bytes.data);
    return ok;
}

static void expect_refusal(bool ok, const struct tw_error *err, const char *why) {
    ck_assert_msg(!ok, "it was accepted: no '%s'", why);
    ck_assert_int_eq(err->code, TW_ERR_INTERNAL);
    ck_assert_msg(strstr(err->message, why), "'%s' is not '%s'", err->message, why);
}

static void refused(const struct maker *m, const char *why) {
    struct tw_error err = {};
    bool ok = load(m, &err);
    expect_refusal(ok, &err, why);
}

// The same with some bytes of the header changed.
static void header_refused(size_t offset, uint32_t value, const char *why) {
    struct maker m;
    struct tw_error err = {};
    make_good(&m);
    struct tw_span bytes = maker_bytes(&m);
    memcpy((uint8_t *)(uintptr_t)bytes.data + offset, &value, sizeof value);
    bool ok = load_bytes(bytes, &m.info, &err);
    expect_refusal(ok, &err, why);
    free((void *)(uintptr_t)bytes.data);
}
#define HEADER_REFUSED(field, value, why) header_refused(offsetof(struct tw_interp_header, field), value, why)

TW_TEST("a program that is right is accepted, and rows may fill the room to its end") {
    struct maker m;
    struct tw_error err = {};
    make_good(&m);
    tw_assert_ok(load(&m, &err), &err);
    m.reg_bytes = TW_INTERP_REG_BYTES_MAX;
    m.info.spill_bytes = m.reg_bytes + 8;
    m.constants[0].row = TW_INTERP_REG_BYTES_MAX - 128;
    tw_assert_ok(load(&m, &err), &err);
}

TW_TEST("a header of another kind is refused") {
    HEADER_REFUSED(magic, TW_INTERP_MAGIC + 1, "magic or flags");
    HEADER_REFUSED(flags, 2, "magic or flags");
    HEADER_REFUSED(flags, UINT32_MAX, "magic or flags");
}

TW_TEST("numbers of the header beyond their limits are refused before anything is multiplied with them") {
    const char *range = "a number is out of range";
    HEADER_REFUSED(inst_count, 0, range);
    HEADER_REFUSED(inst_count, TW_INTERP_INSTS_MAX + 1, range);
    HEADER_REFUSED(inst_count, UINT32_MAX, range);
    HEADER_REFUSED(block_count, 0, range);
    HEADER_REFUSED(block_count, TW_INTERP_BLOCKS_MAX + 1, range);
    HEADER_REFUSED(reg_bytes, TW_INTERP_REG_BYTES_MAX + 64, range);
    HEADER_REFUSED(reg_bytes, 64 + 1, range); // the next warp's rows would not be aligned
}

TW_TEST("parts that are longer or shorter than the header says are refused, however large the numbers") {
    const char *size = "its parts have another size";
    static const size_t fields[] = {offsetof(struct tw_interp_header, constant_count),
                                    offsetof(struct tw_interp_header, zero_count),
                                    offsetof(struct tw_interp_header, operand_count)};
    for (size_t i = 0; i < TW_COUNT(fields); i++) {
        header_refused(fields[i], 0, size);
        header_refused(fields[i], 1'000, size);
        header_refused(fields[i], UINT32_MAX, size);
        header_refused(fields[i], 1U << 28, size); // times 16: 2^32
        header_refused(fields[i], 1U << 29, size);
        header_refused(fields[i], 1U << 30, size);
    }
    HEADER_REFUSED(inst_count, 1, size);
    HEADER_REFUSED(block_count, 1, size);
}

TW_TEST("a program cut short at any length, or with a byte behind it, is refused") {
    struct maker m;
    make_good(&m);
    struct tw_span whole = maker_bytes(&m);
    for (size_t len = 0; len < whole.len; len++) {
        struct tw_error err = {};
        uint8_t *cut = malloc(len + 1);
        memcpy(cut, whole.data, len);
        uint8_t *exact = realloc(cut, len ? len : 1); // what lies behind it is nobody's
        bool ok = load_bytes(tw_span_of(exact, len), &m.info, &err);
        expect_refusal(ok, &err, len < sizeof(struct tw_interp_header) ? "too short" : "another size");
        free(exact);
    }
    struct tw_error err = {};
    uint8_t *longer = calloc(1, whole.len + 1);
    memcpy(longer, whole.data, whole.len);
    bool ok = load_bytes(tw_span_of(longer, whole.len + 1), &m.info, &err);
    expect_refusal(ok, &err, "another size");
    free(longer);
    free((void *)(uintptr_t)whole.data);
}

TW_TEST("bytes that are not aligned are refused") {
    struct maker m;
    make_good(&m);
    struct tw_span whole = maker_bytes(&m);
    for (size_t shift = 1; shift < 8; shift++) {
        struct tw_error err = {};
        uint8_t *moved = malloc(whole.len + shift);
        memcpy(moved + shift, whole.data, whole.len);
        bool ok = load_bytes(tw_span_of(moved + shift, whole.len), &m.info, &err);
        expect_refusal(ok, &err, "not aligned");
        free(moved);
    }
    free((void *)(uintptr_t)whole.data);
}

TW_TEST("a program whose kernel has less room a warp, or other warps, than it needs is refused") {
    struct maker m;
    make_good(&m);
    m.info.spill_bytes = m.reg_bytes - 1;
    refused(&m, "a number is out of range");
    m.info.spill_bytes = m.reg_bytes;
    m.info.variant.lanes = 64; // the room would be for half as many warps
    refused(&m, "a warp has 32 lanes");
}

TW_TEST("operands that are no row are refused") {
    struct maker m;
    make_good(&m);
    uint32_t *operand = &m.operands[m.insts[1].operands], end = m.reg_bytes;
    static const uint32_t shifts[] = {1, 2, 4, 8, 16, 32, 63};
    for (size_t i = 0; i < TW_COUNT(shifts); i++) {
        make_good(&m);
        *operand += shifts[i];
        refused(&m, "a row lies outside");
    }
    const uint32_t outside[] = {end, end - 64, end + 64, UINT32_MAX & ~63U, 1U << 31};
    for (size_t i = 0; i < TW_COUNT(outside); i++) {
        make_good(&m);
        *operand = outside[i];
        refused(&m, "a row lies outside");
    }
    make_good(&m);
    *operand = end - 128; // the last one
    struct tw_error err = {};
    tw_assert_ok(load(&m, &err), &err);
}

TW_TEST("every operand of every operation is checked, of lists too") {
    struct maker m;
    make_good(&m);
    for (uint32_t i = 0; i < m.inst_count; i++) {
        uint32_t end = i + 1 < m.inst_count ? m.insts[i + 1].operands : m.operand_count;
        const char *letters = tw_interp_operands(m.insts[i].op);
        for (uint32_t k = m.insts[i].operands; k < end; k++) {
            bool in_list = letters[1] == '*' && k > m.insts[i].operands;
            uint32_t at = k - m.insts[i].operands;
            char letter = !in_list ? letters[at] : at == 1 ? '*' : letters[2 + at % 2];
            make_good(&m);
            m.operands[k] = UINT32_MAX;
            struct tw_error err = {};
            if (letter == '#')
                tw_assert_ok(load(&m, &err), &err);
            else
                refused(&m, letter == 'B'   ? "there is no such block"
                            : letter == '*' ? "a list has another length"
                                            : "a row lies outside");
        }
    }
}

TW_TEST("instructions with too few or too many operands, or with ones beyond the list's end, are refused") {
    struct maker m;
    make_good(&m);
    m.insts[1].operand_count--;
    refused(&m, "too few operands");
    m.insts[1].operand_count = 0;
    refused(&m, "too few operands");
    make_good(&m);
    m.insts[1].operand_count++;
    refused(&m, "too many operands");
    make_good(&m);
    m.insts[2].operand_count = UINT16_MAX;
    refused(&m, "operands lie outside");
    make_good(&m);
    m.insts[1].operands = m.operand_count - 1;
    refused(&m, "operands lie outside");
    m.insts[1].operands = UINT32_MAX;
    refused(&m, "operands lie outside");
}

TW_TEST("a list's length has to be what its instruction has") {
    struct maker m;
    static const uint32_t lengths[] = {0, 1, 3, UINT32_MAX, 1U << 31, (1U << 31) + 2, (1U << 30) + 2};
    for (size_t i = 0; i < TW_COUNT(lengths); i++) { // twice 2^31 + 2 is 4 in 32 bits
        make_good(&m);
        m.operands[m.insts[4].operands + 1] = lengths[i];
        refused(&m, "a list has another length");
    }
    make_good(&m);
    m.insts[4].operand_count--;
    refused(&m, "a list has another length");
    m.insts[4].operand_count = 1;
    refused(&m, "a list has another length");
    m.insts[4].operand_count = 0;
    refused(&m, "too few operands");
}

TW_TEST("operations that there are not are refused") {
    struct maker m;
    uint16_t end = TW_INTERP_ALU;
    while (tw_interp_operands(end))
        end++;
    const uint16_t ops[] = {end, (uint16_t)(end + 1), UINT16_MAX};
    for (size_t i = 0; i < TW_COUNT(ops); i++) {
        make_good(&m);
        m.insts[1].op = ops[i];
        refused(&m, "there is no such operation");
    }
}

TW_TEST("a block ends with a terminator, and has no other") {
    const char *why = "a terminator is missing or stands in the middle";
    struct maker m;
    make_good(&m);
    m.insts[2] = m.insts[6]; // an end in the middle
    refused(&m, why);
    make_good(&m);
    m.insts[6] = m.insts[2]; // none at the end
    refused(&m, why);
    make_good(&m);
    m.blocks[1]++; // the first one has the second's too
    refused(&m, why);
    make_good(&m);
    m.blocks[1]--; // the first one ends before its own
    refused(&m, why);
}

TW_TEST("blocks begin at the beginning, rise, and lie within the program") {
    struct maker m;
    make_good(&m);
    m.blocks[0] = 1;
    refused(&m, "the first block is not at the beginning");
    make_good(&m);
    m.blocks[2] = m.blocks[1];
    refused(&m, "a block is empty or lies outside");
    make_good(&m);
    m.blocks[1] = m.blocks[2];
    m.blocks[2] = 4;
    refused(&m, "a block"); // ends, or is empty: the first that is seen
    make_good(&m);
    m.blocks[3] = m.inst_count;
    refused(&m, "a block");
    m.blocks[3] = UINT32_MAX;
    refused(&m, "a block is empty or lies outside");
}

TW_TEST("a guard may skip to its block's terminator, not beyond it") {
    struct maker m;
    struct tw_error err = {};
    make_good(&m);
    m.insts[0].imm = 2 << 1;
    tw_assert_ok(load(&m, &err), &err);
    m.insts[0].imm = 3 << 1 | 1;
    refused(&m, "a guard skips more than its block has");
    m.insts[0].imm = UINT64_MAX;
    refused(&m, "a guard skips more than its block has");
    m.insts[0].imm = UINT64_C(1) << 33; // 0 in 32 bits
    refused(&m, "a guard skips more than its block has");
}

TW_TEST("a barrier stands in programs alone that say so") {
    struct maker m;
    struct tw_error err = {};
    make_good(&m);
    m.insts[5] = (struct tw_interp_inst){
        .op = TW_INTERP_BARRIER, .operand_count = 1, .operands = m.insts[5].operands, .imm = 9};
    refused(&m, "a barrier in a program without any");
    m.flags = TW_INTERP_BARRIERS;
    tw_assert_ok(load(&m, &err), &err);
}

// One instruction, then the end. Operands that are ROW are a row.
static void make_one(struct maker *m, uint16_t op, uint64_t imm, const uint32_t *operands, size_t count) {
    maker_init(m);
    uint32_t all[TW_INTERP_OPERANDS_MAX + 100] = {};
    uint32_t row = maker_row(m);
    for (size_t i = 0; i < count; i++)
        all[1 + i] = operands[i] == UINT32_MAX ? row : operands[i];
    maker_block(m);
    maker_inst(m, op, imm, all, count + 1);
    MAKE(m, TW_INTERP_END, 0);
    m->info.spill_bytes = m->reg_bytes;
    m->info.param_bytes = 20;
}
#define ROW UINT32_MAX
#define MAKE_ONE(m, op, imm, ...)                                                                            \
    make_one(m, op, imm, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

TW_TEST("parameters are read within their block alone") {
    struct maker m;
    struct tw_error err = {};
    for (unsigned k = 0; k < 5; k++) { // 1, 2, 4, 8, 16 bytes
        uint16_t op = (uint16_t)(TW_INTERP_LDPARAM_8 + k);
        uint32_t bytes = 1U << k;
        MAKE_ONE(&m, op, 20 - bytes, ROW);
        tw_assert_ok(load(&m, &err), &err);
        const uint64_t outside[] = {
            21 - bytes, 20, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 32, UINT64_MAX - bytes + 1};
        for (size_t i = 0; i < TW_COUNT(outside); i++) {
            MAKE_ONE(&m, op, outside[i], ROW);
            refused(&m, "a parameter lies outside");
        }
        m.info.param_bytes = 0; // less than any
        refused(&m, "a parameter lies outside");
    }
}

TW_TEST("an access has as many elements as the guard behind an arena bears") {
    for (uint16_t op = TW_INTERP_LD_8; op <= TW_INTERP_ST_128; op++) {
        struct maker m;
        struct tw_error err = {};
        uint32_t operands[2 + TW_INTERP_ELEMENTS_MAX + 1] = {ROW, TW_INTERP_ELEMENTS_MAX};
        for (unsigned i = 0; i <= TW_INTERP_ELEMENTS_MAX; i++)
            operands[2 + i] = ROW;
        make_one(&m, op, UINT64_MAX, operands, 2 + TW_INTERP_ELEMENTS_MAX); // any offset
        tw_assert_ok(load(&m, &err), &err);
        operands[1]++;
        make_one(&m, op, 0, operands, 3 + TW_INTERP_ELEMENTS_MAX);
        refused(&m, "an access has more elements");
    }
}

TW_TEST("copies to shared memory have 4, 8 or 16 bytes") {
    static const uint64_t sizes[] = {4, 8, 16, 0, 1, 12, 32, UINT64_C(1) << 32 | 4, UINT64_MAX};
    for (size_t i = 0; i < TW_COUNT(sizes); i++) {
        struct maker m;
        struct tw_error err = {};
        MAKE_ONE(&m, TW_INTERP_CPASYNC, sizes[i], ROW, ROW, ROW);
        if (i < 3)
            tw_assert_ok(load(&m, &err), &err);
        else
            refused(&m, "neither 4, 8 nor 16 bytes");
    }
}

TW_TEST("a program prints where its kernel does") {
    struct maker m;
    struct tw_error err = {};
    MAKE_ONE(&m, TW_INTERP_PRINTF, 0, ROW, ROW, ROW);
    refused(&m, "it prints, and its kernel does not");
    m.info.prints = true;
    tw_assert_ok(load(&m, &err), &err);
}

TW_TEST("products of matrices that there are not are refused, and those with other operands") {
    struct maker m;
    uint32_t operands[64];
    const char *why = "a product of matrices that does not exist";
    for (size_t i = 0; i < TW_COUNT(operands); i++)
        operands[i] = ROW;
    for (uint16_t op = TW_INTERP_MMA_32; op <= TW_INTERP_MMA_64; op++)
        for (unsigned bit = 0; bit < 64; bit++)
            for (uint32_t count = 0; count <= 1; count++) { // one operand is never enough
                operands[0] = count;
                make_one(&m, op, UINT64_C(1) << bit, operands, 1 + (size_t)count);
                refused(&m, count ? why : "a list has another length");
            }
    operands[0] = 40; // more than any product has
    make_one(&m, TW_INTERP_MMA_32, 0, operands, 41);
    refused(&m, why);
    operands[0] = 4;
    make_one(&m, TW_INTERP_MMA_32, UINT64_MAX, operands, 5);
    refused(&m, why);
}

TW_TEST("constants of other sizes, or that lie outside, are refused") {
    struct maker m;
    static const uint32_t sizes[] = {0, 3, 5, 12, 32, UINT32_MAX, 1U << 27};
    for (size_t i = 0; i < TW_COUNT(sizes); i++) {
        make_good(&m);
        m.constants[0].element_bytes = sizes[i];
        refused(&m, "a constant");
    }
    make_good(&m);
    const uint32_t rows[] = {m.reg_bytes, m.reg_bytes - 64, 4, UINT32_MAX & ~63U};
    for (size_t i = 0; i < TW_COUNT(rows); i++) {
        make_good(&m);
        m.constants[0].row = rows[i];
        refused(&m, "a row lies outside");
    }
}

TW_TEST("zeros that lie outside are refused") {
    struct maker m;
    make_good(&m);
    const struct tw_interp_zero zeros[] = {{m.reg_bytes - 64, 65}, {m.reg_bytes, 1}, {0, m.reg_bytes + 1},
                                           {64, UINT32_MAX},       {1, 8},           {64, UINT32_MAX - 63}};
    for (size_t i = 0; i < TW_COUNT(zeros); i++) {
        make_good(&m);
        m.zeros[0] = zeros[i];
        refused(&m, "a row lies outside");
    }
    make_good(&m);
    m.zeros[0] = (struct tw_interp_zero){.row = 0, .bytes = m.reg_bytes};
    struct tw_error err = {};
    tw_assert_ok(load(&m, &err), &err);
}

TW_TEST("no memory for a program is told, and leaks nothing") {
    struct maker m;
    struct tw_error err = {};
    make_good(&m);
    unsigned fails = 0;
    for (unsigned n = 1; n < 100; n++) {
        char spec[32];
        snprintf(spec, sizeof spec, "alloc:%u", n);
        tw_fault_configure(spec);
        bool ok = load(&m, &err);
        tw_fault_configure(NULL);
        if (ok)
            break;
        ck_assert_int_eq(err.code, TW_ERR_CAPACITY);
        fails++;
    }
    ck_assert_uint_gt(fails, 4);
}
