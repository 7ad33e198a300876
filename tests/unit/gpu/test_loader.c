// SPDX-License-Identifier: Apache-2.0
//
// The object loader: what it takes, what it refuses, and that no mutation of an object makes it crash.

#include "unit/gpu/fixture.h"

#include <elf.h>

static struct tw_buf make_object(void) {
    return compile_object(
        "static const s32 table[] = {3, 5, 7, 11, 13, 17, 19, 23};\n"
        "KERNEL(pick) {\n"
        "  switch (count) {\n" // a jump table: relocations against .rodata
        "  case 100: return first + 1; case 101: return first * 3; case 102: return ~first;\n"
        "  case 103: return first ^ 0x55; case 104: return first << 3; case 105: return first / 7; }\n"
        "  return table[(first + count) & 7]; }\n",
        NULL);
}

TW_TEST("a compiled object is loaded, its constants are found, and code and constants are closed") {
    struct tw_buf object = make_object();
    struct gpu_text text;
    struct tw_error err = {};
    tw_assert_ok(gpu_object_load(tw_buf_span(&object), &text, &err), &err);
    struct tw_kernel_frame frame = {};
    ck_assert_uint_eq(text.entry(&frame, 1, 2), 11);
    ck_assert_uint_eq(text.entry(&frame, 0, 0), 3);
    ck_assert_uint_eq(text.entry(&frame, 6, 101), 18);
    ck_assert_uint_eq(text.entry(&frame, 70, 105), 10);
    ck_assert_uint_eq(text.entry(&frame, 0x50, 103), 0x05);
    gpu_text_done(&text);
    tw_buf_done(&object);
}

static void on_write_fault(int signal_number) {
    (void)signal_number;
    _exit(42);
}

TW_TEST("loaded code cannot be written") {
    struct tw_buf object = make_object();
    struct gpu_text text;
    struct tw_error err = {};
    tw_assert_ok(gpu_object_load(tw_buf_span(&object), &text, &err), &err);
    for (size_t at = 0; at < text.mapping_bytes; at += 4096) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, on_write_fault);
            *(volatile uint8_t *)(text.mapping + at) = 0;
            _exit(0);
        }
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), 42);
    }
    gpu_text_done(&text);
    tw_buf_done(&object);
}

static void expect_refusal(const char *source, const char *words) {
    struct tw_buf object = compile_object(source, NULL);
    struct gpu_text text;
    struct tw_error err = {};
    ck_assert(!gpu_object_load(tw_buf_span(&object), &text, &err));
    ck_assert_int_eq(err.code, TW_ERR_INTERNAL);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
    tw_buf_done(&object);
}

TW_TEST("an object that calls something outside itself is refused by name") {
    expect_refusal("u32 puts(const char *); KERNEL(k) { return puts(\"x\"); }", "'puts'");
}

TW_TEST("an object with writable data is refused") {
    expect_refusal("static volatile s32 n = 4; KERNEL(k) { return n++; }", "writable");
    expect_refusal("static volatile s32 n; KERNEL(k) { return n++; }", "writable");
    expect_refusal("static __thread volatile s32 n; KERNEL(k) { return n++; }", "thread-local");
}

TW_TEST("an object with two entries, with none, or with a constructor is refused") {
    expect_refusal("KERNEL(a) { return 0; } KERNEL(b) { return 1; }", "more than one entry");
    expect_refusal("static KERNEL(a) { return 0; } const void *const keep = a;", "no entry");
    expect_refusal("__attribute__((constructor)) static void go(void) { __asm__ volatile(\"\"); } KERNEL(a) "
                   "{ return 0; }",
                   "type");
}

TW_TEST("bytes that are no object are refused") {
    struct gpu_text text;
    struct tw_error err = {};
    uint8_t junk[256] = {};
    ck_assert(!gpu_object_load(tw_span_of(junk, 0), &text, &err));
    ck_assert(!gpu_object_load(tw_span_of(junk, sizeof(junk)), &text, &err));
    memcpy(junk, ELFMAG, 4);
    ck_assert(!gpu_object_load(tw_span_of(junk, sizeof(junk)), &text, &err));
}

// Loads a mutated copy that ends where its memory ends, so that reading past it faults.
static bool load_at_page_end(const uint8_t *bytes, size_t len) {
    static uint8_t *pages;
    static const size_t room = 1 << 16;
    if (!pages) {
        pages = mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert(pages != MAP_FAILED);
        ck_assert_int_eq(mprotect(pages + room, 4096, PROT_NONE), 0);
    }
    ck_assert_uint_le(len, room);
    uint8_t *copy = pages + room - len;
    memcpy(copy, bytes, len);
    struct gpu_text text;
    struct tw_error err = {};
    if (!gpu_object_load(tw_span_of(copy, len), &text, &err)) {
        ck_assert_int_ne(err.code, TW_OK);
        ck_assert_uint_gt(strlen(err.message), 10);
        return false;
    }
    // What was accepted has its entry in its code.
    uintptr_t entry = (uintptr_t)text.entry - (uintptr_t)text.mapping;
    ck_assert_uint_lt(entry, text.code_bytes);
    gpu_text_done(&text);
    return true;
}

TW_TEST("every truncation of an object is refused or loads within bounds") {
    struct tw_buf object = make_object();
    size_t accepted = 0;
    for (size_t len = 0; len < object.len; len++)
        accepted += load_at_page_end(object.data, len);
    ck_assert_uint_eq(accepted, 0); // the section table is at the end
    ck_assert(load_at_page_end(object.data, object.len));
    tw_buf_done(&object);
}

TW_TEST("mutated objects are refused or load within bounds: 200,000 of them") {
    struct tw_buf object = make_object();
    uint8_t *copy = malloc(object.len);
    static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff, 8, 0x10, 0x40};
    Elf64_Ehdr header;
    memcpy(&header, object.data, sizeof(header));
    uint64_t seed = 88'172'645'463'325'252ULL, refused = 0;
    for (int round = 0; round < 200'000; round++) {
        memcpy(copy, object.data, object.len);
        for (int change = 0; change < 1 + round % 3; change++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            // Mostly in the tables, where it hurts.
            size_t at = (seed >> 8) % object.len;
            if (seed & 1)
                at = header.e_shoff + at % (header.e_shnum * sizeof(Elf64_Shdr));
            copy[at] = (seed & 2) ? values[(seed >> 4) % TW_COUNT(values)] : (uint8_t)(seed >> 40);
        }
        refused += !load_at_page_end(copy, object.len);
    }
    ck_assert_uint_gt(refused, 1000);
    free(copy);
    tw_buf_done(&object);
}

// ---- field by field ----

// A number in an object that says where or how large something is, or what.
struct field {
    size_t at;
    unsigned width;
};
enum { FIELDS_MAX = 4'096 };

#define FIELD(type, base, name)                                                                              \
    (struct field) {                                                                                         \
        (base) + offsetof(type, name), sizeof(((type *)0)->name)                                             \
    }

static Elf64_Ehdr header_of(const struct tw_buf *object) {
    Elf64_Ehdr header;
    memcpy(&header, object->data, sizeof header);
    return header;
}

static Elf64_Shdr section_of(const struct tw_buf *object, unsigned index) {
    Elf64_Shdr section;
    memcpy(&section, object->data + header_of(object).e_shoff + index * sizeof section, sizeof section);
    return section;
}

// Where the header of the n-th section of a type begins, with all of `flags`.
static size_t section_at(const struct tw_buf *object, uint32_t type, uint64_t flags, unsigned n) {
    for (unsigned i = 0; i < header_of(object).e_shnum; i++) {
        Elf64_Shdr section = section_of(object, i);
        if (section.sh_type == type && section.sh_size && (section.sh_flags & flags) == flags && n-- == 0)
            return header_of(object).e_shoff + i * sizeof section;
    }
    ck_abort_msg("no section of type %u", type);
}

// Those of a table of symbols or relocations.
static size_t add_fields(const Elf64_Shdr *section, struct field *fields, size_t n) {
    for (uint64_t at = section->sh_offset;
         section->sh_type == SHT_SYMTAB && at < section->sh_offset + section->sh_size;
         at += sizeof(Elf64_Sym)) {
        fields[n++] = FIELD(Elf64_Sym, at, st_name);
        fields[n++] = FIELD(Elf64_Sym, at, st_info);
        fields[n++] = FIELD(Elf64_Sym, at, st_shndx);
        fields[n++] = FIELD(Elf64_Sym, at, st_value);
        fields[n++] = FIELD(Elf64_Sym, at, st_size);
    }
    for (uint64_t at = section->sh_offset;
         section->sh_type == SHT_RELA && at < section->sh_offset + section->sh_size;
         at += sizeof(Elf64_Rela)) {
        fields[n++] = FIELD(Elf64_Rela, at, r_offset);
        fields[n++] = (struct field){at + offsetof(Elf64_Rela, r_info), 4};     // type
        fields[n++] = (struct field){at + offsetof(Elf64_Rela, r_info) + 4, 4}; // symbol
        fields[n++] = FIELD(Elf64_Rela, at, r_addend);
    }
    ck_assert_uint_le(n, FIELDS_MAX - 32);
    return n;
}

// All fields of the headers, the symbols and the relocations.
static size_t find_fields(const struct tw_buf *object, struct field *fields) {
    size_t n = 0;
    fields[n++] = FIELD(Elf64_Ehdr, 0, e_type);
    fields[n++] = FIELD(Elf64_Ehdr, 0, e_machine);
    fields[n++] = FIELD(Elf64_Ehdr, 0, e_version);
    fields[n++] = FIELD(Elf64_Ehdr, 0, e_shoff);
    fields[n++] = FIELD(Elf64_Ehdr, 0, e_shentsize);
    fields[n++] = FIELD(Elf64_Ehdr, 0, e_shnum);
    fields[n++] = FIELD(Elf64_Ehdr, 0, e_shstrndx);
    for (unsigned i = 0; i < header_of(object).e_shnum; i++) {
        size_t at = header_of(object).e_shoff + i * sizeof(Elf64_Shdr);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_name);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_type);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_flags);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_offset);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_size);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_link);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_info);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_addralign);
        fields[n++] = FIELD(Elf64_Shdr, at, sh_entsize);
        Elf64_Shdr section = section_of(object, i);
        n = add_fields(&section, fields, n);
    }
    return n;
}

static uint64_t hostile_value(const struct tw_buf *object, uint64_t before, unsigned which) {
    const uint64_t values[] = {0,
                               1,
                               2,
                               8,
                               before - 1,
                               before + 1,
                               before * 2,
                               before ^ 4,
                               4'096,
                               object->len,
                               object->len + 1,
                               object->len - 24,
                               0x7fff'ffff,
                               0x8000'0000,
                               1ULL << 32,
                               1ULL << 63,
                               INT64_MAX,
                               UINT64_MAX,
                               UINT64_MAX - 7,
                               UINT64_MAX - object->len};
    return values[which % TW_COUNT(values)];
}
enum { HOSTILE_VALUES = 20 };

static void set_field(const struct tw_buf *object, uint8_t *copy, struct field field, unsigned which) {
    uint64_t before = 0;
    memcpy(&before, object->data + field.at, field.width);
    uint64_t value = hostile_value(object, before, which);
    memcpy(copy + field.at, &value, field.width);
}

TW_TEST("every field of an object with every hostile value, alone and two at a time, is refused or loads "
        "within bounds") {
    struct tw_buf object = make_object();
    static struct field fields[FIELDS_MAX];
    size_t count = find_fields(&object, fields), refused = 0, tried = 0;
    uint8_t *copy = malloc(object.len);
    for (size_t f = 0; f < count; f++)
        for (unsigned which = 0; which < HOSTILE_VALUES; which++, tried++) {
            memcpy(copy, object.data, object.len);
            set_field(&object, copy, fields[f], which);
            refused += !load_at_page_end(copy, object.len);
        }
    uint64_t seed = 0x9e37'79b9'7f4a'7c15ULL;
    for (unsigned round = 0; round < 30'000; round++, tried++) {
        memcpy(copy, object.data, object.len);
        for (unsigned change = 0; change < 2; change++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            set_field(&object, copy, fields[(seed >> 8) % count], (unsigned)(seed >> 40));
        }
        refused += !load_at_page_end(copy, object.len);
    }
    ck_assert_msg(refused > tried / 4, "%zu of %zu refused", refused, tried);
    free(copy);
    tw_buf_done(&object);
}

// The object with one field set is refused with these words.
static void expect_words(const struct tw_buf *object, struct field field, uint64_t value, const char *words) {
    uint8_t *copy = malloc(object->len);
    memcpy(copy, object->data, object->len);
    memcpy(copy + field.at, &value, field.width);
    struct gpu_text text;
    struct tw_error err = {};
    ck_assert_msg(!gpu_object_load(tw_span_of(copy, object->len), &text, &err), "loaded: %s", words);
    ck_assert_int_eq(err.code, TW_ERR_INTERNAL);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s, not '%s'", err.message, words);
    free(copy);
}

TW_TEST("what is wrong with an object is told: its header and its sections") {
    struct tw_buf object = make_object();
    size_t code = section_at(&object, SHT_PROGBITS, SHF_EXECINSTR, 0),
           symtab = section_at(&object, SHT_SYMTAB, 0, 0), strings = section_at(&object, SHT_STRTAB, 0, 0);
    expect_words(&object, FIELD(Elf64_Ehdr, 0, e_machine), EM_AARCH64, "x86-64");
    expect_words(&object, FIELD(Elf64_Ehdr, 0, e_type), ET_EXEC, "relocatable");
    expect_words(&object, FIELD(Elf64_Ehdr, 0, e_shnum), 0, "section table has a wrong shape");
    expect_words(&object, FIELD(Elf64_Ehdr, 0, e_shnum), 65'535, "section table has a wrong shape");
    expect_words(&object, FIELD(Elf64_Ehdr, 0, e_shentsize), 63, "section table has a wrong shape");
    expect_words(&object, FIELD(Elf64_Ehdr, 0, e_shoff), UINT64_MAX - 64, "section table leaves the file");
    expect_words(&object, FIELD(Elf64_Ehdr, 0, e_shoff), object.len - 64, "section table leaves the file");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_offset), UINT64_MAX, "leaves the file");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_size), object.len + 1, "leaves the file");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_addralign), 3, "wrong alignment");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_addralign), 8'192, "wrong alignment");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_name), UINT32_MAX, "has no name");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_type), SHT_INIT_ARRAY, "is of type 14");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_flags), SHF_ALLOC | SHF_EXECINSTR | SHF_WRITE,
                 "is writable");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_flags), SHF_ALLOC | SHF_EXECINSTR | SHF_TLS,
                 "thread-local");
    expect_words(&object, FIELD(Elf64_Shdr, code, sh_flags), SHF_ALLOC, "no code");
    expect_words(&object, FIELD(Elf64_Shdr, symtab, sh_entsize), 16, "symbol tables have a wrong shape");
    expect_words(&object, FIELD(Elf64_Shdr, symtab, sh_type), SHT_PROGBITS, "no symbols");
    expect_words(&object, FIELD(Elf64_Shdr, strings, sh_offset), object.len, "leaves the file");
    tw_buf_done(&object);
}

// The symbol table's index of the global function.
static size_t entry_symbol(const struct tw_buf *object, const Elf64_Shdr *symtab) {
    for (uint64_t at = symtab->sh_offset; at < symtab->sh_offset + symtab->sh_size; at += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;
        memcpy(&symbol, object->data + at, sizeof symbol);
        if (ELF64_ST_BIND(symbol.st_info) == STB_GLOBAL && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC)
            return at;
    }
    ck_abort_msg("no entry");
}

TW_TEST("what is wrong with an object is told: its symbols and its relocations") {
    struct tw_buf object = make_object();
    Elf64_Shdr symtab, relocations;
    memcpy(&symtab, object.data + section_at(&object, SHT_SYMTAB, 0, 0), sizeof symtab);
    size_t rela_header = section_at(&object, SHT_RELA, 0, 0), entry = entry_symbol(&object, &symtab);
    memcpy(&relocations, object.data + rela_header, sizeof relocations);
    size_t rela = relocations.sh_offset;
    expect_words(&object, FIELD(Elf64_Sym, entry, st_shndx), SHN_UNDEF, "no entry");
    expect_words(&object, FIELD(Elf64_Sym, entry, st_shndx), SHN_ABS, "lies nowhere");
    expect_words(&object, FIELD(Elf64_Sym, entry, st_value), object.len, "lies nowhere");
    expect_words(&object, FIELD(Elf64_Sym, entry, st_value), UINT64_MAX - 15, "lies nowhere");
    expect_words(&object, FIELD(Elf64_Sym, entry, st_info), ELF64_ST_INFO(STB_LOCAL, STT_FUNC), "no entry");
    expect_words(&object, FIELD(Elf64_Shdr, rela_header, sh_info), 60'000, "a section that does not exist");
    expect_words(&object, FIELD(Elf64_Shdr, rela_header, sh_entsize), 23,
                 "relocation section has a wrong shape");
    expect_words(&object, FIELD(Elf64_Shdr, rela_header, sh_link), 0, "relocation section has a wrong shape");
    expect_words(&object, FIELD(Elf64_Shdr, rela_header, sh_type), SHT_REL, "relocations without addends");
    expect_words(&object, FIELD(Elf64_Rela, rela, r_offset), object.len, "leaves its section");
    expect_words(&object, FIELD(Elf64_Rela, rela, r_offset), UINT64_MAX - 3, "leaves its section");
    expect_words(&object, FIELD(Elf64_Rela, rela, r_addend), INT64_MAX, "leaves the object");
    expect_words(&object, FIELD(Elf64_Rela, rela, r_addend), (uint64_t)INT64_MIN, "leaves the object");
    expect_words(&object, FIELD(Elf64_Rela, rela, r_addend), 1 << 20, "leaves the object");
    expect_words(&object, FIELD(Elf64_Rela, rela, r_info), ELF64_R_INFO(1, R_X86_64_COPY),
                 "is not one that kernels need");
    expect_words(&object, FIELD(Elf64_Rela, rela, r_info), ELF64_R_INFO(0, R_X86_64_PC32),
                 "symbol 0 does not exist");
    expect_words(&object, FIELD(Elf64_Rela, rela, r_info), ELF64_R_INFO(9'999, R_X86_64_PC32),
                 "symbol 9999 does not exist");
    tw_buf_done(&object);
}
