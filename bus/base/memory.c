/* memory.c - what an actor needed to start, or for a burst, and does not need to idle, given back.
 *
 * Half of an idle actor's resident memory is code that ran once: relocation, reading schemas,
 * opening sockets, and the fifteen pages around each that the kernel maps along. It is clean and
 * lies in the page cache anyway, shared by all actors, but it counts in each (and its page tables
 * are real). Mappings of read-only segments are dropped; what is used is mapped again, by a minor
 * fault, in microseconds. */
#include "bus/base/memory.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Relocations in the code would be lost: such an object is left alone. */
static bool has_text_relocations(const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *dyn = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        for (; dyn->d_tag != DT_NULL; dyn++)
            if (dyn->d_tag == DT_TEXTREL ||
                (dyn->d_tag == DT_FLAGS && (dyn->d_un.d_val & DF_TEXTREL)))
                return true;
    }
    return false;
}

static int drop_object(struct dl_phdr_info *info, size_t size, void *user)
{
    uintptr_t page = *(const uintptr_t *)user;
    (void)size;
    if (info->dlpi_name[0] != '\0' && strchr(info->dlpi_name, '/') == NULL)
        return 0; /* the kernel's vdso */
    if (has_text_relocations(info))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W))
            continue;
        uintptr_t start = info->dlpi_addr + segment->p_vaddr, end = start + segment->p_filesz;
        start &= ~(page - 1);
        end = (end + page - 1) & ~(page - 1);
        madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

void kb_memory_give_back(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    malloc_trim(0);
    dl_iterate_phdr(drop_object, &page);
}
