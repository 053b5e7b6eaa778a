/* prctl.c - prctl(2), as far as it concerns an address space: PR_SET_VMA, PR_SET_MM, PR_SET_THP_DISABLE,
 * PR_SET_MDWE. */
#include "core/space/space.h"

#define NAME_MAX_BYTES 80

/* Printable, without the characters that would confuse a reader of maps. */
static bool name_valid(const char *name)
{
	size_t length = 0;

	for (const char *c = name; *c; c++, length++)
		if (length >= NAME_MAX_BYTES - 1 || *c < 0x20 || *c > 0x7e || *c == '\\' || *c == '`' || *c == '$' ||
		    *c == '[' || *c == ']')
			return false;
	return true;
}

static int name_one(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, const char *name, vma_t **out)
{
	struct vma_extra *extra = extra_copy(mm->vm, vma->extra, name);
	int err;

	*out = vma;
	if (!extra)
		return -SAMARA_ENOMEM;
	if (!name)
		extra->named = false;
	if (extra_equal(extra, vma->extra)) {
		err = 0;
	} else {
		err = vma_modify(mm, vma, start, end, vma->flags, extra_is_plain(extra) ? NULL : extra, out);
	}
	extra_put(mm->vm, extra);
	return err;
}

static int set_name(struct samara_mm *mm, uint64_t start, uint64_t length, const char *name)
{
	uint64_t end = start + PAGE_ALIGN(length);
	int unmapped = 0;

	if (name && !name_valid(name))
		return -SAMARA_EINVAL;
	if ((start & ~PAGE_MASK) || (length && !PAGE_ALIGN(length)) || end < start)
		return -SAMARA_EINVAL;
	while (start < end) {
		vma_t *vma = mm_find_in(mm, start, end);
		uint64_t to;
		int err;

		if (!vma)
			return -SAMARA_ENOMEM;
		if (start < vma->start) {
			unmapped = -SAMARA_ENOMEM;
			start = vma->start;
		}
		if (vma->file && !vma->file->is_shm_zero)
			return -SAMARA_EBADF;
		to = MIN(vma->end, end);
		err = name_one(mm, vma, start, to, name, &vma);
		if (err)
			return err == -SAMARA_ENOMEM ? -SAMARA_EAGAIN : err;
		start = to;
	}
	return unmapped;
}

static uint64_t *layout_field(struct samara_mm *mm, uint64_t what)
{
	struct mm_layout *l = &mm->layout;

	switch (what) {
	case SAMARA_PR_SET_MM_START_CODE: return &l->start_code;
	case SAMARA_PR_SET_MM_END_CODE: return &l->end_code;
	case SAMARA_PR_SET_MM_START_DATA: return &l->start_data;
	case SAMARA_PR_SET_MM_END_DATA: return &l->end_data;
	case SAMARA_PR_SET_MM_START_STACK: return &l->start_stack;
	case SAMARA_PR_SET_MM_START_BRK: return &l->start_brk;
	case SAMARA_PR_SET_MM_BRK: return &l->brk;
	case SAMARA_PR_SET_MM_ARG_START: return &l->arg_start;
	case SAMARA_PR_SET_MM_ARG_END: return &l->arg_end;
	case SAMARA_PR_SET_MM_ENV_START: return &l->env_start;
	case SAMARA_PR_SET_MM_ENV_END: return &l->env_end;
	}
	return NULL;
}

/* Order of the segments, and the data limit: what every change of the layout must keep. */
static bool layout_valid(const struct samara_mm *mm)
{
	const struct mm_layout *l = &mm->layout;
	uint64_t limit = mm_limit(mm, LIMIT_DATA), low = mm->vm->config.mmap_min_addr;
	const uint64_t fields[] = { l->start_code, l->end_code, l->start_data, l->end_data, l->start_brk, l->brk, l->start_stack,
		l->arg_start, l->arg_end, l->env_start, l->env_end };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i] >= l->task_size || fields[i] < low)
			return false;
	if (l->start_code >= l->end_code || l->start_data > l->end_data || l->start_brk > l->brk || l->arg_start > l->arg_end ||
	    l->env_start > l->env_end)
		return false;
	return limit == SAMARA_RLIM_INFINITY || l->brk - l->start_brk + (l->end_data - l->start_data) <= limit;
}

static int set_mm(struct samara_mm *mm, uint64_t what, uint64_t addr, uint64_t arg4, uint64_t arg5)
{
	uint64_t *field = layout_field(mm, what), old;

	if (what == SAMARA_PR_SET_MM_MAP || what == SAMARA_PR_SET_MM_MAP_SIZE)
		return -SAMARA_EOPNOTSUPP;
	if (arg5 || arg4)
		return -SAMARA_EINVAL;
	if (!mm_capable(mm, SAMARA_CAP_SYS_RESOURCE))
		return -SAMARA_EPERM;
	if (what == SAMARA_PR_SET_MM_AUXV || what == SAMARA_PR_SET_MM_EXE_FILE)
		return -SAMARA_EOPNOTSUPP;
	if (addr >= mm->layout.task_size || addr < mm->vm->config.mmap_min_addr || !field)
		return -SAMARA_EINVAL;
	old = *field;
	*field = addr;
	if (layout_valid(mm)) {
		/* these must lie in something mapped */
		if ((what < SAMARA_PR_SET_MM_START_STACK + 1 || what >= SAMARA_PR_SET_MM_ARG_START) && !mm_find(mm, addr)) {
			*field = old;
			return -SAMARA_EINVAL;
		}
		return 0;
	}
	*field = old;
	return -SAMARA_EINVAL;
}

static int set_mdwe(struct samara_mm *mm, uint64_t bits, uint64_t arg3, uint64_t arg4, uint64_t arg5)
{
	if (arg3 || arg4 || arg5 || (bits & ~(SAMARA_PR_MDWE_REFUSE_EXEC_GAIN | SAMARA_PR_MDWE_NO_INHERIT)))
		return -SAMARA_EINVAL;
	if ((bits & SAMARA_PR_MDWE_NO_INHERIT) && !(bits & SAMARA_PR_MDWE_REFUSE_EXEC_GAIN))
		return -SAMARA_EINVAL;
	/* what was denied stays denied */
	if (mm->mdwe && mm->mdwe != bits)
		return -SAMARA_EPERM;
	mm->mdwe = (uint32_t)bits;
	return 0;
}

static int do_prctl(struct samara_mm *mm, int option, const uint64_t arg[4], const char *name)
{
	switch (option) {
	case SAMARA_PR_SET_VMA:
		if (arg[0] != SAMARA_PR_SET_VMA_ANON_NAME || !mm->vm->config.anon_vma_name)
			return -SAMARA_EINVAL;
		return set_name(mm, arg[1], arg[2], name);
	case SAMARA_PR_SET_MM:
		return set_mm(mm, arg[0], arg[1], arg[2], arg[3]);
	case SAMARA_PR_SET_THP_DISABLE:
		if (arg[2] || arg[3] || (arg[1] & ~SAMARA_PR_THP_DISABLE_EXCEPT_ADVISED) || (!arg[0] && arg[1]))
			return -SAMARA_EINVAL;
		mm->thp_disabled = arg[0] ? 1 | (uint32_t)arg[1] : 0;
		return 0;
	case SAMARA_PR_GET_THP_DISABLE:
		return arg[0] || arg[1] || arg[2] || arg[3] ? -SAMARA_EINVAL : (int)mm->thp_disabled;
	case SAMARA_PR_SET_MDWE:
		return set_mdwe(mm, arg[0], arg[1], arg[2], arg[3]);
	case SAMARA_PR_GET_MDWE:
		return arg[0] || arg[1] || arg[2] || arg[3] ? -SAMARA_EINVAL : (int)mm->mdwe;
	}
	return -SAMARA_EINVAL;
}

int samara_prctl(struct samara_mm *mm, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4, uint64_t arg5,
	const char *name)
{
	const uint64_t arg[4] = { arg2, arg3, arg4, arg5 };
	struct samara_write_guard g;
	int err;

	samara_write_lock(mm, &g);
	err = do_prctl(mm, option, arg, name);
	samara_write_unlock(&g);
	return err;
}
