/* An emulated V4L2 camera for tests, loaded with LD_PRELOAD.
 *
 * FAKECAM_DEV names a folder that stands in for /dev: "/dev/video0" is its file "video0", which tests/fakecam.py
 * writes. The file is mapped here and there, so the test turns faults on and off while the camera runs. It also
 * holds a "tape" of pictures for each mode, which the camera plays round and round at the mode's rate.
 *
 * A thread per running camera stands in for the driver's interrupt. It fills the buffers that the program has
 * queued, oldest first, and drops a picture when there is none: a program that reads too slowly gets old pictures,
 * as it does from a real driver.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAGIC = 0x4d414346, MOST_HANDLES = 16, MOST_BUFFERS = 32, MOST_MODES = 8, MOST_FRAMES = 128 };
enum fault { NONE, UNPLUGGED, STALLED, FORBIDDEN };

/* ---- The shared file; tests/fakecam.py has the same layout. ---- */

struct mode {
    uint32_t fourcc, width, height, fps;
    uint32_t frames;     /* on the tape */
    uint32_t slot_bytes; /* each slot: uint32_t size, then the picture */
    uint64_t tape;       /* where in the file it starts */
};

struct camera {
    uint32_t magic;
    volatile uint32_t fault;
    volatile uint32_t spoil;  /* so many of the next pictures are marked as bad */
    volatile uint32_t in_use; /* some program has buffers */
    char card[32];
    uint32_t n_modes, unused;
    struct mode modes[MOST_MODES];
    volatile uint64_t captured;              /* pictures taken since the file was made */
    volatile uint64_t stamp_ns[MOST_FRAMES]; /* when each picture of the tape was last taken, monotonic */
};

/* ---- An opened camera. ---- */

struct fifo {
    unsigned entries[MOST_BUFFERS], head, tail;
};

struct handle {
    int is_open;
    int fd; /* a memfd: the program maps its buffers from it */
    int nonblocking, streaming;
    struct camera *camera;
    size_t file_bytes;
    const struct mode *mode;
    unsigned n_buffers;
    size_t buffer_bytes;
    unsigned char *memory;
    struct v4l2_buffer filled[MOST_BUFFERS];
    struct fifo waiting, done;
    pthread_t driver;
    pthread_mutex_t lock;
};

static struct handle handles[MOST_HANDLES];
static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;

/* The C library's own functions behind ours. Looked up at each call: other libraries may call before any set-up. */
static int real_open(const char *path, int flags, mode_t permissions) {
    int (*function)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    return function(path, flags, permissions);
}

static int real_close(int fd) {
    int (*function)(int) = dlsym(RTLD_NEXT, "close");
    return function(fd);
}

static int real_ioctl(int fd, unsigned long request, void *argument) {
    int (*function)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return function(fd, request, argument);
}

static DIR *real_opendir(const char *path) {
    DIR *(*function)(const char *) = dlsym(RTLD_NEXT, "opendir");
    return function(path);
}

static int fails(int error) {
    errno = error;
    return -1;
}

static int is_empty(const struct fifo *fifo) { return fifo->head == fifo->tail; }
static void put(struct fifo *fifo, unsigned entry) { fifo->entries[fifo->tail++ % MOST_BUFFERS] = entry; }
static unsigned take(struct fifo *fifo) { return fifo->entries[fifo->head++ % MOST_BUFFERS]; }

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static struct handle *handle_of(int fd) {
    for (int i = 0; i < MOST_HANDLES; i++)
        if (handles[i].is_open && handles[i].fd == fd)
            return &handles[i];
    return NULL;
}

/* ---- The driver's side: pictures into queued buffers, at the mode's rate. ---- */

static void take_picture(struct handle *handle) {
    struct camera *camera = handle->camera;
    const struct mode *mode = handle->mode;
    uint64_t number = camera->captured++, at_ns = now_ns();
    unsigned frame = number % mode->frames;
    camera->stamp_ns[frame] = at_ns;

    pthread_mutex_lock(&handle->lock);
    if (!is_empty(&handle->waiting)) {
        unsigned index = take(&handle->waiting);
        const unsigned char *slot = (unsigned char *)camera + mode->tape + (size_t)frame * mode->slot_bytes;
        uint32_t size;
        memcpy(&size, slot, sizeof size);
        memcpy(handle->memory + index * handle->buffer_bytes, slot + sizeof size, size);

        struct v4l2_buffer *buffer = &handle->filled[index];
        buffer->bytesused = size;
        buffer->sequence = number;
        buffer->timestamp.tv_sec = at_ns / 1000000000;
        buffer->timestamp.tv_usec = at_ns % 1000000000 / 1000;
        buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        if (camera->spoil > 0) {
            camera->spoil--;
            buffer->flags |= V4L2_BUF_FLAG_ERROR;
        }
        put(&handle->done, index);
    }
    pthread_mutex_unlock(&handle->lock);
}

static void *drive(void *argument) {
    struct handle *handle = argument;
    uint64_t due_ns = now_ns();
    while (handle->streaming) {
        due_ns += 1000000000ull / handle->mode->fps;
        struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        if (handle->camera->fault == NONE)
            take_picture(handle);
    }
    return NULL;
}

static void stop_streaming(struct handle *handle) {
    if (!handle->streaming)
        return;
    handle->streaming = 0;
    pthread_join(handle->driver, NULL);
    handle->waiting.head = handle->waiting.tail;
    handle->done.head = handle->done.tail;
}

static void free_buffers(struct handle *handle) {
    if (!handle->n_buffers)
        return;
    munmap(handle->memory, handle->n_buffers * handle->buffer_bytes);
    handle->n_buffers = 0;
    handle->camera->in_use = 0;
}

/* ---- The program's questions. Each returns 0, or an errno. ---- */

static int query_capabilities(struct handle *handle, struct v4l2_capability *answer) {
    memset(answer, 0, sizeof *answer);
    strcpy((char *)answer->driver, "fakecam");
    strcpy((char *)answer->bus_info, "usb-fakecam");
    memcpy(answer->card, handle->camera->card, sizeof handle->camera->card);
    answer->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
    answer->capabilities = answer->device_caps | V4L2_CAP_DEVICE_CAPS;
    return 0;
}

/* The index-th mode of a pixel format; with fourcc 0, the first mode of the index-th pixel format. */
static const struct mode *find_mode(const struct camera *camera, unsigned index, uint32_t fourcc) {
    for (unsigned i = 0; i < camera->n_modes; i++) {
        int is_listed = fourcc == 0 || camera->modes[i].fourcc == fourcc;
        for (unsigned j = 0; fourcc == 0 && j < i; j++)
            is_listed &= camera->modes[j].fourcc != camera->modes[i].fourcc;
        if (is_listed && index-- == 0)
            return &camera->modes[i];
    }
    return NULL;
}

static int list_format(struct handle *handle, struct v4l2_fmtdesc *answer) {
    const struct mode *mode = find_mode(handle->camera, answer->index, 0);
    if (answer->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || !mode)
        return EINVAL;
    answer->pixelformat = mode->fourcc;
    answer->flags = mode->fourcc == V4L2_PIX_FMT_MJPEG ? V4L2_FMT_FLAG_COMPRESSED : 0;
    memcpy(answer->description, &mode->fourcc, 4);
    answer->description[4] = 0;
    return 0;
}

static int list_size(struct handle *handle, struct v4l2_frmsizeenum *answer) {
    const struct mode *mode = find_mode(handle->camera, answer->index, answer->pixel_format);
    if (!mode)
        return EINVAL;
    answer->type = V4L2_FRMSIZE_TYPE_DISCRETE;
    answer->discrete.width = mode->width;
    answer->discrete.height = mode->height;
    return 0;
}

static int list_interval(struct handle *handle, struct v4l2_frmivalenum *answer) {
    const struct mode *mode;
    for (unsigned i = 0; (mode = find_mode(handle->camera, i, answer->pixel_format)); i++)
        if (mode->width == answer->width && mode->height == answer->height && answer->index == 0) {
            answer->type = V4L2_FRMIVAL_TYPE_DISCRETE;
            answer->discrete = (struct v4l2_fract){1, mode->fps};
            return 0;
        }
    return EINVAL;
}

/* What a driver does with a wish that it cannot fulfil: its nearest size, or its first pixel format. */
static const struct mode *nearest_mode(const struct camera *camera, const struct v4l2_pix_format *wanted) {
    uint32_t fourcc = find_mode(camera, 0, wanted->pixelformat) ? wanted->pixelformat : camera->modes[0].fourcc;
    const struct mode *nearest = NULL, *mode;
    int least = 0;
    for (unsigned i = 0; (mode = find_mode(camera, i, fourcc)); i++) {
        int distance = abs((int)mode->width - (int)wanted->width) + abs((int)mode->height - (int)wanted->height);
        if (!nearest || distance < least) {
            nearest = mode;
            least = distance;
        }
    }
    return nearest;
}

static int format(struct handle *handle, struct v4l2_format *answer, int is_set) {
    if (answer->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
        return EINVAL;
    if (is_set) {
        if (handle->camera->in_use)
            return EBUSY;
        handle->mode = nearest_mode(handle->camera, &answer->fmt.pix);
    }
    const struct mode *mode = handle->mode;
    int is_raw = mode->fourcc != V4L2_PIX_FMT_MJPEG;
    answer->fmt.pix = (struct v4l2_pix_format){
        .width = mode->width,
        .height = mode->height,
        .pixelformat = mode->fourcc,
        .field = V4L2_FIELD_NONE,
        .bytesperline = is_raw ? mode->width * 2 : 0,
        .sizeimage = mode->width * mode->height * 2,
        .colorspace = V4L2_COLORSPACE_SRGB,
    };
    return 0;
}

static int rate(struct handle *handle, struct v4l2_streamparm *answer) {
    if (answer->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
        return EINVAL;
    answer->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
    answer->parm.capture.timeperframe = (struct v4l2_fract){1, handle->mode->fps};
    return 0;
}

static int request_buffers(struct handle *handle, struct v4l2_requestbuffers *request) {
    if (request->memory != V4L2_MEMORY_MMAP)
        return EINVAL;
    if (request->count && handle->camera->in_use && !handle->n_buffers)
        return EBUSY;
    stop_streaming(handle);
    free_buffers(handle);
    if (request->count > MOST_BUFFERS)
        request->count = MOST_BUFFERS;
    handle->buffer_bytes = (handle->mode->width * handle->mode->height * 2 + 4095) & ~4095ul;
    size_t bytes = request->count * handle->buffer_bytes;
    if (!request->count)
        return 0;
    if (ftruncate(handle->fd, bytes))
        return errno;
    handle->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, handle->fd, 0);
    if (handle->memory == MAP_FAILED)
        return errno;
    handle->n_buffers = request->count;
    handle->camera->in_use = 1;
    return 0;
}

static int query_buffer(struct handle *handle, struct v4l2_buffer *buffer) {
    if (buffer->index >= handle->n_buffers)
        return EINVAL;
    struct v4l2_buffer *known = &handle->filled[buffer->index];
    memset(known, 0, sizeof *known);
    known->index = buffer->index;
    known->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    known->memory = V4L2_MEMORY_MMAP;
    known->field = V4L2_FIELD_NONE;
    known->length = handle->buffer_bytes;
    known->m.offset = buffer->index * handle->buffer_bytes;
    known->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    *buffer = *known;
    return 0;
}

static int queue_buffer(struct handle *handle, const struct v4l2_buffer *buffer) {
    if (buffer->index >= handle->n_buffers)
        return EINVAL;
    pthread_mutex_lock(&handle->lock);
    put(&handle->waiting, buffer->index);
    pthread_mutex_unlock(&handle->lock);
    return 0;
}

static int dequeue_buffer(struct handle *handle, struct v4l2_buffer *buffer) {
    for (;;) {
        if (handle->camera->fault == UNPLUGGED)
            return ENODEV;
        pthread_mutex_lock(&handle->lock);
        int is_there = !is_empty(&handle->done);
        if (is_there)
            *buffer = handle->filled[take(&handle->done)];
        pthread_mutex_unlock(&handle->lock);
        if (is_there)
            return 0;
        if (handle->nonblocking)
            return EAGAIN;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static int start_streaming(struct handle *handle) {
    if (!handle->n_buffers)
        return EINVAL;
    handle->streaming = 1;
    return pthread_create(&handle->driver, NULL, drive, handle);
}

static int answer(struct handle *handle, uint32_t request, void *argument) {
    if (handle->camera->fault == UNPLUGGED)
        return ENODEV;
    switch (request) {
    case VIDIOC_QUERYCAP: return query_capabilities(handle, argument);
    case VIDIOC_ENUM_FMT: return list_format(handle, argument);
    case VIDIOC_ENUM_FRAMESIZES: return list_size(handle, argument);
    case VIDIOC_ENUM_FRAMEINTERVALS: return list_interval(handle, argument);
    case VIDIOC_G_FMT: return format(handle, argument, 0);
    case VIDIOC_S_FMT: return format(handle, argument, 1);
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM: return rate(handle, argument);
    case VIDIOC_G_INPUT: *(int *)argument = 0; return 0;
    case VIDIOC_S_INPUT: return 0;
    case VIDIOC_ENUMINPUT:
        if (((struct v4l2_input *)argument)->index)
            return EINVAL;
        *(struct v4l2_input *)argument = (struct v4l2_input){.name = "Camera 1", .type = V4L2_INPUT_TYPE_CAMERA};
        return 0;
    case VIDIOC_REQBUFS: return request_buffers(handle, argument);
    case VIDIOC_QUERYBUF: return query_buffer(handle, argument);
    case VIDIOC_QBUF: return queue_buffer(handle, argument);
    case VIDIOC_DQBUF: return dequeue_buffer(handle, argument);
    case VIDIOC_STREAMON: return start_streaming(handle);
    case VIDIOC_STREAMOFF: stop_streaming(handle); return 0;
    default: return ENOTTY;
    }
}

/* ---- What the program calls. ---- */

/* "/dev/video0" -> "FOLDER/video0"; other paths stay. Returns whether it was a camera's. */
static int stand_in(const char *path, char *instead, size_t size) {
    const char *folder = getenv("FAKECAM_DEV");
    int is_camera = folder && !strncmp(path, "/dev/video", 10);
    snprintf(instead, size, is_camera ? "%s/%s" : "%.0s%s", is_camera ? folder : "", is_camera ? path + 5 : path);
    return is_camera;
}

static int open_camera(const char *path, int flags) {
    int file = real_open(path, O_RDWR | O_CLOEXEC, 0);
    struct stat status;
    if (file < 0)
        return -1;
    fstat(file, &status);
    if ((size_t)status.st_size < sizeof(struct camera))
        return file; /* no camera: an ordinary file answers every question with ENOTTY, as /dev/null does */
    struct camera *camera = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    real_close(file);
    if (camera == MAP_FAILED)
        return -1;
    int error = camera->magic != MAGIC ? ENXIO : camera->fault == FORBIDDEN ? EACCES : camera->fault == UNPLUGGED ? ENODEV : EMFILE;
    pthread_mutex_lock(&handles_lock);
    for (int i = 0; error == EMFILE && i < MOST_HANDLES; i++) {
        struct handle *handle = &handles[i];
        if (handle->is_open)
            continue;
        handle->is_open = 1;
        handle->camera = camera;
        handle->file_bytes = status.st_size;
        handle->mode = &camera->modes[0];
        handle->nonblocking = flags & O_NONBLOCK;
        handle->fd = memfd_create("fakecam", MFD_CLOEXEC);
        pthread_mutex_unlock(&handles_lock);
        return handle->fd;
    }
    pthread_mutex_unlock(&handles_lock);
    munmap(camera, status.st_size);
    return fails(error);
}

int open(const char *path, int flags, ...) {
    char instead[4096];
    if (stand_in(path, instead, sizeof instead))
        return open_camera(instead, flags);
    va_list rest;
    va_start(rest, flags);
    mode_t permissions = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return real_open(path, flags, permissions);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int close(int fd) {
    struct handle *handle = handle_of(fd);
    if (handle) {
        stop_streaming(handle);
        free_buffers(handle);
        munmap(handle->camera, handle->file_bytes);
        handle->is_open = 0;
    }
    return real_close(fd);
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    struct handle *handle = handle_of(fd);
    if (!handle)
        return real_ioctl(fd, request, argument);
    int error = answer(handle, (uint32_t)request, argument);
    return error ? fails(error) : 0;
}

DIR *opendir(const char *path) {
    const char *folder = getenv("FAKECAM_DEV");
    return real_opendir(folder && !strcmp(path, "/dev") ? folder : path);
}
