/* unpack.c - a layer's tar into a folder that overlay can use.
 *
 * WHY tar(1) and not a reader of our own or libarchive: it is on every Debian, knows every form of
 * the format and of compression, guards against links that lead out, and runs in a child that may
 * fail. Then one walk turns the whiteouts of the image format into those of overlay:
 * ".wh.NAME" into a character device 0/0, ".wh..wh..opq" into trusted.overlay.opaque. */
#include "agent/image/image.h"
#include "agent/job.h"
#include "bus/base/file.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static int convert(const FTSENT *entry, struct kb_err *err)
{
    KB_AUTO(kb_auto_free)
    char *folder = kb_str_dup(kb_str_n(entry->fts_path, entry->fts_pathlen - entry->fts_namelen));
    const char *hidden = entry->fts_name + strlen(".wh.");
    if (unlink(entry->fts_path) < 0)
        return kb_err_sys(err, errno, "remove '%s'", entry->fts_path);
    if (strcmp(hidden, ".wh..opq") == 0) {
        if (setxattr(folder, "trusted.overlay.opaque", "y", 1, 0) < 0)
            return kb_err_sys(err, errno, "mark '%s' opaque", folder);
        return 0;
    }
    if (strncmp(hidden, ".wh.", 4) == 0) /* other words of aufs: of no meaning here */
        return 0;
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s%s", folder, hidden);
    if (mknod(path, S_IFCHR | 0600, makedev(0, 0)) < 0 && errno != EEXIST)
        return kb_err_sys(err, errno, "whiteout '%s'", path);
    return 0;
}

static int convert_all(const char *folder, struct kb_err *err)
{
    char *roots[] = {(char *)(uintptr_t)folder, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    int rc = 0;
    if (fts == NULL)
        return kb_err_sys(err, errno, "walk '%s'", folder);
    for (FTSENT *entry; rc == 0 && (errno = 0, entry = fts_read(fts)) != NULL;) {
        if (entry->fts_info == FTS_F && strncmp(entry->fts_name, ".wh.", 4) == 0)
            rc = convert(entry, err);
        else if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR)
            rc = kb_err_sys(err, entry->fts_errno, "walk '%s'", entry->fts_path);
    }
    if (rc == 0 && errno != 0) /* of fts_read, at what it takes for the end */
        rc = kb_err_sys(err, errno, "walk '%s'", folder);
    fts_close(fts);
    return rc;
}

int kb__image_unpack(const char *blob, const char *folder, struct kb_err *err)
{
    const char *argv[] = {"tar",
                          "--extract",
                          "--file",
                          blob,
                          "--directory",
                          folder,
                          "--numeric-owner",
                          "--same-permissions",
                          "--xattrs",
                          "--xattrs-include=*",
                          "--xattrs-exclude=trusted.overlay.*", /* only we may say those */
                          "--delay-directory-restore",
                          NULL};
    if (kb_dir_make(folder, 0755, err) < 0 || kb_spawn(argv, (kb_str){0}, NULL, NULL, err) < 0)
        return kb_err_wrap(err, "unpack layer");
    return convert_all(folder, err);
}
