/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scope-bound cleanup, after the manner of systemd: a variable declared with one of these frees
 * itself. */
#ifndef VMJ_BASE_CLEANUP_H
#define VMJ_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VMJ_CLEANUP(f) __attribute__((cleanup(f)))

/* Define vmj_<func>p(), which calls func(*p) if *p is set: for VMJ_CLEANUP on a pointer variable.
 */
#define VMJ_DEFINE_CLEANUP(type, func)      \
	static inline void func##p(type *p) \
	{                                   \
		if (*p)                     \
			func(*p);           \
	}                                   \
	struct vmj_cleanup_needs_semicolon

static inline void vmj_freep(void *p)
{
	free(*(void **)p);
}

/* Closes and sets to -1; errno is kept. Returns -1 so that `fd = vmj_close(fd)` reads well. */
int vmj_close(int fd);

static inline void vmj_closep(int *fd)
{
	vmj_close(*fd);
}

static inline void vmj_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void vmj_closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define vmj_autofree     VMJ_CLEANUP(vmj_freep)
#define vmj_autoclose    VMJ_CLEANUP(vmj_closep)
#define vmj_autofclose   VMJ_CLEANUP(vmj_fclosep)
#define vmj_autoclosedir VMJ_CLEANUP(vmj_closedirp)

/* Give the value away: returns it and clears the variable, so that its cleanup does nothing. */
#define vmj_steal(p)                         \
	({                                   \
		__typeof__(p) stolen_ = (p); \
		(p) = NULL;                  \
		stolen_;                     \
	})
#define vmj_steal_fd(fd)            \
	({                          \
		int stolen_ = (fd); \
		(fd) = -1;          \
		stolen_;            \
	})

#endif
