/* stream.h - lines of text in plain, xz or zstd files.
 *
 * Reading finds out by the first bytes what a file is; writing goes by the name (.xz, .zst).  A line longer than
 * LINE_MAX_BYTES is an error, so a hostile file cannot make the reader take unbounded memory.
 */
#ifndef TOOL_STREAM_H
#define TOOL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;

enum { STREAM_LINE_MAX_BYTES = 64 << 20 };

/* NULL with the reason in `why`.  "-" is standard input or output. */
struct stream *stream_read(const char *path, char *why, size_t room);
struct stream *stream_read_memory(const void *bytes, size_t n);
struct stream *stream_write(const char *path, char *why, size_t room);
/* 1: a line without its newline, valid until the next call; 0: the end; -1: `stream_error` says why. */
int stream_line(struct stream *s, char **line, size_t *bytes);
int stream_put(struct stream *s, const char *text, size_t bytes);
const char *stream_error(const struct stream *s);
/* 0, or -1 when the last bytes could not be written. */
int stream_close(struct stream *s);

#endif
