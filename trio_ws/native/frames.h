/* Frames of RFC 6455: a header read and written, and the XOR of masking. No Python objects. */

#ifndef TRIO_WS_FRAMES_H
#define TRIO_WS_FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* RFC 6455 5.2; the names are those of `protocol/frames.py` and `protocol/masking.py`. */
enum {
    WHOLE_TEXT = 0x80 | 0x1,
    WHOLE_BINARY = 0x80 | 0x2,
    MASKED = 0x80,
    START_SIZE = 2,
    KEY_SIZE = 4,
    MAX_CONTROL_SIZE = 125,
    EXTENDED_16 = 126,
    EXTENDED_64 = 127,
    LARGEST_16 = 0xFFFF,
    LARGEST_HEADER = START_SIZE + 8,
};

/* XOR `size` bytes with the key; `out` may be `in`, but must not overlap it otherwise. The loop over words is one that
   compilers make wider words of. */
static inline void
xor_with_key(unsigned char *out, const unsigned char *in, Py_ssize_t size, const unsigned char *key)
{
    unsigned char twice[8];
    uint64_t pattern, word;
    Py_ssize_t at = 0;
    memcpy(twice, key, KEY_SIZE);
    memcpy(twice + KEY_SIZE, key, KEY_SIZE);
    memcpy(&pattern, twice, sizeof pattern);
    for (; size - at >= 8; at += 8) {
        memcpy(&word, in + at, sizeof word);
        word ^= pattern;
        memcpy(out + at, &word, sizeof word);
    }
    for (; at < size; at++)
        out[at] = in[at] ^ twice[at & 3];
}

/* A frame that is a whole message: where its payload is. */
struct frame {
    int first;
    const unsigned char *key; /* NULL if it is not masked */
    const unsigned char *payload;
    Py_ssize_t size;
};

/* Read the header at the start of `data`. Return false if it is not there to its last byte, is not a whole message's, or
   that has more than `largest` bytes or breaks a rule: who calls does not ask which. The payload may be cut. */
static inline bool
read_start(const unsigned char *data, Py_ssize_t there, int masked, Py_ssize_t largest, struct frame *frame)
{
    Py_ssize_t key_size = masked ? KEY_SIZE : 0;
    if (there < START_SIZE + key_size || (data[0] != WHOLE_TEXT && data[0] != WHOLE_BINARY))
        return false;
    unsigned int form = data[1] ^ (unsigned int)masked;
    uint64_t size = form;
    Py_ssize_t start = START_SIZE;
    if (form > MAX_CONTROL_SIZE) {
        Py_ssize_t extended = form == EXTENDED_16 ? 2 : 8;
        if (form > EXTENDED_64 || there < START_SIZE + extended + key_size)
            return false;
        size = 0;
        for (start = START_SIZE; start < START_SIZE + extended; start++)
            size = size << 8 | data[start];
        if (size <= (form == EXTENDED_16 ? MAX_CONTROL_SIZE : LARGEST_16))
            return false;
    }
    if (largest < 0 || size > (uint64_t)largest)
        return false;
    frame->first = data[0];
    frame->key = masked ? data + start : NULL;
    frame->payload = data + start + key_size;
    frame->size = (Py_ssize_t)size;
    return true;
}

/* Read the frame at the start of `data`, as `read_start`; false also if its payload is cut. */
static inline bool
read_frame(const unsigned char *data, Py_ssize_t there, int masked, Py_ssize_t largest, struct frame *frame)
{
    return read_start(data, there, masked, largest, frame) && frame->size <= there - (frame->payload - data);
}

/* Write a header up to its masking key; return its size. */
static inline Py_ssize_t
write_header(unsigned char *header, int first, Py_ssize_t size, int masked)
{
    int extended = size <= MAX_CONTROL_SIZE ? 0 : size <= LARGEST_16 ? 2 : 8;
    header[0] = (unsigned char)first;
    header[1] = (unsigned char)(masked | (extended == 0 ? (int)size : extended == 2 ? EXTENDED_16 : EXTENDED_64));
    for (int left = extended; left > 0; left--)
        header[START_SIZE + extended - left] = (unsigned char)((uint64_t)size >> 8 * (left - 1));
    return START_SIZE + extended;
}

#endif
