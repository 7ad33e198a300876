// SPDX-License-Identifier: Apache-2.0
//
// Checks the object before it leaves: a call that LLVM slipped in (memset, a libm function) or a relocation
// that the server's loader does not take is our bug, better found here than at a launch.

#include <elf.h>

#include "emit.h"

static bool inside(struct tw_span object, uint64_t at, uint64_t size) {
    return at <= object.len && size <= object.len - at;
}

static bool check_symbols(struct tw_span object, const Elf64_Shdr *sections, const Elf64_Shdr *table,
                          struct tw_error *err) {
    const Elf64_Shdr *strings = &sections[table->sh_link];
    for (uint64_t i = 1; i < table->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym symbol;
        memcpy(&symbol, object.data + table->sh_offset + i * sizeof symbol, sizeof symbol);
        if (symbol.st_shndx == SHN_UNDEF)
            return tw_fail(err, TW_ERR_INTERNAL, "the compiled kernel calls '%.80s', which is not in it",
                           (const char *)object.data + strings->sh_offset + symbol.st_name);
    }
    return true;
}

static bool check_relocations(struct tw_span object, const Elf64_Shdr *table, struct tw_error *err) {
    for (uint64_t i = 0; i < table->sh_size / sizeof(Elf64_Rela); i++) {
        Elf64_Rela rela;
        memcpy(&rela, object.data + table->sh_offset + i * sizeof rela, sizeof rela);
        uint32_t type = ELF64_R_TYPE(rela.r_info);
        if (type != R_X86_64_PC32 && type != R_X86_64_PLT32 && type != R_X86_64_PC64 && type != R_X86_64_64)
            return tw_fail(err, TW_ERR_INTERNAL, "the compiled kernel has a relocation of type %u", type);
    }
    return true;
}

bool jit_object_check(struct tw_span object, struct tw_error *err) {
    Elf64_Ehdr header;
    if (object.len < sizeof header)
        return tw_fail(err, TW_ERR_INTERNAL, "the compiled kernel is only %zu bytes long", object.len);
    memcpy(&header, object.data, sizeof header);
    if (!inside(object, header.e_shoff, (uint64_t)header.e_shnum * sizeof(Elf64_Shdr)))
        return tw_fail(err, TW_ERR_INTERNAL, "the compiled kernel's section table lies outside it");
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(const void *)(object.data + header.e_shoff);
    for (unsigned i = 0; i < header.e_shnum; i++) {
        if (sections[i].sh_type == SHT_SYMTAB && !check_symbols(object, sections, &sections[i], err))
            return false;
        if (sections[i].sh_type == SHT_RELA && sections[i].sh_flags & SHF_INFO_LINK) {
            const Elf64_Shdr *target = &sections[sections[i].sh_info];
            if ((target->sh_flags & SHF_ALLOC) && !check_relocations(object, &sections[i], err))
                return false;
        }
    }
    return true;
}
