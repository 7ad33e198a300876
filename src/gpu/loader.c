// SPDX-License-Identifier: Apache-2.0
//
// Our own loader for the ELF64 relocatable objects that the kernel compiler emits: sections are copied into
// one anonymous mapping, code first, constants after it, relocated, and closed:
//
//     | code: read, execute | constants: read only |
//
// Objects carry an HMAC of ours, but the process that made them has parsed a tenant's PTX: so nothing in an
// object is believed. Every offset, size, index and sum is checked; an object may refer to its own sections
// only, may have no writable data, no undefined symbols, no thread-local or constructor sections, and exactly
// one global function, which is the entry. Format: System V ABI, chapter 4, and its AMD64 supplement,
// table 4.9.

#include <elf.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "gpu/internal.h"

#define PAGE_BYTES 4096ULL

// Confined to one load.
struct load {
    struct tw_span object;
    struct tw_error *err;
    Elf64_Ehdr header;
    Elf64_Shdr *sections; // a copy: the object need not be aligned
    uint64_t *places;     // where each section went, from the mapping's start; NOT_LOADED
    uint64_t code_bytes, total_bytes;
    uint8_t *mapping;
    uint32_t symtab; // section index
    uint64_t symbol_count;
};
#define NOT_LOADED UINT64_MAX

[[gnu::format(printf, 2, 3)]] static bool refuse(struct load *load, const char *format, ...) {
    char why[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    return tw_fail(load->err, TW_ERR_INTERNAL, "the compiled kernel cannot be loaded: %s", why);
}

static bool in_bounds(const struct load *load, uint64_t offset, uint64_t size) {
    return offset <= load->object.len && size <= load->object.len - offset;
}

static bool read_header(struct load *load) {
    if (load->object.len < sizeof(load->header) || load->object.len > GPU_OBJECT_MAX_BYTES)
        return refuse(load, "%zu bytes are not an object file", load->object.len);
    memcpy(&load->header, load->object.data, sizeof(load->header));
    const Elf64_Ehdr *header = &load->header;
    static const uint8_t ident[] = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
    if (memcmp(header->e_ident, ident, sizeof(ident)) != 0 || header->e_type != ET_REL ||
        header->e_machine != EM_X86_64 || header->e_version != EV_CURRENT)
        return refuse(load, "it is not a relocatable ELF64 object for x86-64");
    if (header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shnum == 0 ||
        header->e_shnum > GPU_OBJECT_SECTIONS_MAX || header->e_shstrndx >= header->e_shnum)
        return refuse(load, "its section table has a wrong shape");
    if (!in_bounds(load, header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr)))
        return refuse(load, "its section table leaves the file");
    return true;
}

// A name in a string table; NULL unless it ends inside the table.
static const char *string_at(const struct load *load, uint64_t section, uint64_t offset) {
    if (section >= load->header.e_shnum)
        return NULL;
    const Elf64_Shdr *table = &load->sections[section];
    if (table->sh_type != SHT_STRTAB || offset >= table->sh_size)
        return NULL;
    const char *text = (const char *)load->object.data + table->sh_offset + offset;
    return memchr(text, 0, table->sh_size - offset) ? text : NULL;
}

// What is kept of a section: loaded, or looked at, or passed over.
static bool check_section(struct load *load, uint32_t index) {
    const Elf64_Shdr *section = &load->sections[index];
    const char *name = string_at(load, load->header.e_shstrndx, section->sh_name);
    if (!name)
        return refuse(load, "section %" PRIu32 " has no name", index);
    if (section->sh_type != SHT_NOBITS && section->sh_type != SHT_NULL &&
        !in_bounds(load, section->sh_offset, section->sh_size))
        return refuse(load, "section '%.40s' leaves the file", name);
    if (section->sh_addralign > PAGE_BYTES || (section->sh_addralign & (section->sh_addralign - 1)) != 0)
        return refuse(load, "section '%.40s' has a wrong alignment", name);
    if (!(section->sh_flags & SHF_ALLOC) || section->sh_size == 0)
        return true;
    if (section->sh_type == SHT_NOTE || section->sh_type == SHT_X86_64_UNWIND ||
        strcmp(name, ".eh_frame") == 0)
        return true; // not needed at run time, and not loaded
    if (section->sh_type != SHT_PROGBITS && section->sh_type != SHT_NOBITS)
        return refuse(load, "section '%.40s' is of type %" PRIu32, name, section->sh_type);
    if (section->sh_flags & (SHF_TLS | SHF_COMPRESSED))
        return refuse(load, "section '%.40s' is thread-local or compressed", name);
    // Pointers to be relocated are read-only afterwards; any other writable data would be shared between
    // tenants.
    if ((section->sh_flags & SHF_WRITE) && strncmp(name, ".data.rel.ro", strlen(".data.rel.ro")) != 0)
        return refuse(load, "section '%.40s' is writable", name);
    if (section->sh_flags & SHF_WRITE && section->sh_flags & SHF_EXECINSTR)
        return refuse(load, "section '%.40s' is writable code", name);
    if (section->sh_size > GPU_OBJECT_MAX_BYTES)
        return refuse(load, "section '%.40s' is too large", name);
    load->places[index] = 0; // to be placed
    return true;
}

// Gives every loaded section its place: those with code when `code`, else the others.
static bool place_sections(struct load *load, bool code) {
    for (uint32_t i = 0; i < load->header.e_shnum; i++) {
        const Elf64_Shdr *section = &load->sections[i];
        if (load->places[i] == NOT_LOADED || ((section->sh_flags & SHF_EXECINSTR) != 0) != code)
            continue;
        load->places[i] = tw_align_up(load->total_bytes, section->sh_addralign ? section->sh_addralign : 1);
        load->total_bytes = load->places[i] + section->sh_size;
        if (load->total_bytes > GPU_OBJECT_MAX_BYTES)
            return refuse(load, "its sections together are too large");
    }
    load->total_bytes = tw_align_up(load->total_bytes, PAGE_BYTES);
    return true;
}

static bool read_sections(struct load *load) {
    uint32_t count = load->header.e_shnum;
    load->sections = tw_alloc(count * sizeof(load->sections[0]));
    load->places = tw_alloc(count * sizeof(load->places[0]));
    if (!load->sections || !load->places)
        return tw_fail(load->err, TW_ERR_CAPACITY, "no memory to load a kernel");
    memcpy(load->sections, load->object.data + load->header.e_shoff, count * sizeof(load->sections[0]));
    for (uint32_t i = 0; i < count; i++)
        load->places[i] = NOT_LOADED;
    // String tables are bounds-checked before any name is read from them.
    for (uint32_t i = 0; i < count; i++) {
        const Elf64_Shdr *section = &load->sections[i];
        if (section->sh_type == SHT_STRTAB && !in_bounds(load, section->sh_offset, section->sh_size))
            return refuse(load, "string table %" PRIu32 " leaves the file", i);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!check_section(load, i))
            return false;
        if (load->sections[i].sh_type == SHT_SYMTAB) {
            if (load->symtab || load->sections[i].sh_entsize != sizeof(Elf64_Sym))
                return refuse(load, "its symbol tables have a wrong shape");
            load->symtab = i;
            load->symbol_count = load->sections[i].sh_size / sizeof(Elf64_Sym);
        }
    }
    if (!place_sections(load, true))
        return false;
    load->code_bytes = load->total_bytes;
    if (load->code_bytes == 0 || !load->symtab)
        return refuse(load, "it has no code or no symbols");
    return place_sections(load, false);
}

static bool copy_sections(struct load *load) {
    // All of it is written at once: faults one by one would be half of what loading takes.
    void *mapping = mmap(NULL, load->total_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mapping == MAP_FAILED)
        return tw_fail_errno(load->err, TW_ERR_CAPACITY, errno, "no memory for a kernel's code");
    load->mapping = mapping;
    // A jump that misses lands on a breakpoint, not on zeros (which are instructions).
    memset(load->mapping, 0xcc, load->code_bytes);
    for (uint32_t i = 0; i < load->header.e_shnum; i++) {
        const Elf64_Shdr *section = &load->sections[i];
        if (load->places[i] == NOT_LOADED)
            continue;
        if (section->sh_type == SHT_NOBITS)
            memset(load->mapping + load->places[i], 0, section->sh_size);
        else
            memcpy(load->mapping + load->places[i], load->object.data + section->sh_offset, section->sh_size);
    }
    return true;
}

static Elf64_Sym symbol_at(const struct load *load, uint64_t index) {
    Elf64_Sym symbol;
    memcpy(&symbol, load->object.data + load->sections[load->symtab].sh_offset + index * sizeof(symbol),
           sizeof(symbol));
    return symbol;
}

// The symbol's place in the mapping. It must lie in a section that is loaded.
static bool symbol_place(struct load *load, uint64_t index, uint64_t *ret_place) {
    if (index == 0 || index >= load->symbol_count)
        return refuse(load, "symbol %" PRIu64 " does not exist", index);
    Elf64_Sym symbol = symbol_at(load, index);
    if (symbol.st_shndx == SHN_UNDEF) {
        const char *name = string_at(load, load->sections[load->symtab].sh_link, symbol.st_name);
        return refuse(load, "it calls '%.60s', which is not part of it", name ? name : "?");
    }
    if (symbol.st_shndx >= load->header.e_shnum || load->places[symbol.st_shndx] == NOT_LOADED ||
        symbol.st_value > load->sections[symbol.st_shndx].sh_size)
        return refuse(load, "symbol %" PRIu64 " lies nowhere", index);
    *ret_place = load->places[symbol.st_shndx] + symbol.st_value;
    return true;
}

static bool relocate_one(struct load *load, uint32_t target, const Elf64_Rela *rela) {
    uint64_t type = ELF64_R_TYPE(rela->r_info);
    uint64_t width = type == R_X86_64_64 || type == R_X86_64_PC64 ? 8 : 4;
    if (type != R_X86_64_64 && type != R_X86_64_PC64 && type != R_X86_64_PC32 && type != R_X86_64_PLT32)
        return refuse(load, "relocation type %" PRIu64 " is not one that kernels need", type);
    uint64_t size = load->sections[target].sh_size;
    if (rela->r_offset > size || width > size - rela->r_offset)
        return refuse(load, "a relocation leaves its section");
    uint64_t symbol;
    if (!symbol_place(load, ELF64_R_SYM(rela->r_info), &symbol))
        return false;
    uint8_t *place = load->mapping + load->places[target] + rela->r_offset;
    // The sum stays inside the mapping, so that no reference leaves the object.
    int64_t goal;
    // The four bytes that PC32 counts from the end of the field are part of the addend.
    if (__builtin_add_overflow((int64_t)symbol, rela->r_addend, &goal) || goal < -8 ||
        goal > (int64_t)load->total_bytes)
        return refuse(load, "a relocation leaves the object");
    int64_t distance = goal - (place - load->mapping);
    uint64_t value = width == 8 && type == R_X86_64_64 ? (uint64_t)(uintptr_t)load->mapping + (uint64_t)goal
                                                       : (uint64_t)distance;
    memcpy(place, &value, width); // distances fit: the mapping is far smaller than 2 GiB
    return true;
}

static bool relocate_section(struct load *load, const Elf64_Shdr *relocations) {
    uint32_t target = relocations->sh_info;
    if (target >= load->header.e_shnum)
        return refuse(load, "relocations for a section that does not exist");
    if (load->places[target] == NOT_LOADED)
        return true; // of unwind tables
    if (relocations->sh_entsize != sizeof(Elf64_Rela) || relocations->sh_link != load->symtab ||
        load->sections[target].sh_type == SHT_NOBITS)
        return refuse(load, "a relocation section has a wrong shape");
    for (uint64_t at = 0; relocations->sh_size - at >= sizeof(Elf64_Rela); at += sizeof(Elf64_Rela)) {
        Elf64_Rela rela;
        memcpy(&rela, load->object.data + relocations->sh_offset + at, sizeof(rela));
        if (!relocate_one(load, target, &rela))
            return false;
    }
    return true;
}

static bool relocate(struct load *load) {
    for (uint32_t i = 0; i < load->header.e_shnum; i++) {
        const Elf64_Shdr *section = &load->sections[i];
        if (section->sh_type == SHT_REL)
            return refuse(load, "it has relocations without addends");
        if (section->sh_type == SHT_RELA && !relocate_section(load, section))
            return false;
    }
    return true;
}

static bool find_entry(struct load *load, uint64_t *ret_place) {
    uint64_t found = 0;
    for (uint64_t i = 1; i < load->symbol_count; i++) {
        Elf64_Sym symbol = symbol_at(load, i);
        if (ELF64_ST_BIND(symbol.st_info) == STB_LOCAL)
            continue;
        if (found && symbol.st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC)
            return refuse(load, "it has more than one entry");
        if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC)
            continue;
        found = i;
    }
    if (!found)
        return refuse(load, "it has no entry");
    if (!symbol_place(load, found, ret_place))
        return false;
    const Elf64_Sym symbol = symbol_at(load, found);
    if (!(load->sections[symbol.st_shndx].sh_flags & SHF_EXECINSTR) ||
        symbol.st_value == load->sections[symbol.st_shndx].sh_size)
        return refuse(load, "its entry is not code");
    return true;
}

static bool close_mapping(struct load *load) {
    if (mprotect(load->mapping, load->code_bytes, PROT_READ | PROT_EXEC) != 0 ||
        (load->total_bytes > load->code_bytes &&
         mprotect(load->mapping + load->code_bytes, load->total_bytes - load->code_bytes, PROT_READ) != 0))
        return tw_fail_errno(load->err, TW_ERR_CAPACITY, errno,
                             "a kernel's code could not be made executable");
    return true;
}

bool gpu_object_load(struct tw_span object, struct gpu_text *ret_text, struct tw_error *err) {
    struct load load = {.object = object, .err = err};
    uint64_t entry = 0;
    bool ok = read_header(&load) && read_sections(&load) && copy_sections(&load) && relocate(&load) &&
              find_entry(&load, &entry) && close_mapping(&load);
    free(load.sections);
    free(load.places);
    if (!ok) {
        if (load.mapping)
            munmap(load.mapping, load.total_bytes);
        return false;
    }
    *ret_text = (struct gpu_text){.mapping = load.mapping,
                                  .mapping_bytes = load.total_bytes,
                                  .code_bytes = load.code_bytes,
                                  .entry = (tw_kernel_entry)(uintptr_t)(load.mapping + entry)};
    return true;
}

void gpu_text_done(struct gpu_text *text) {
    if (text->mapping)
        munmap(text->mapping, text->mapping_bytes);
    *text = (struct gpu_text){};
}
