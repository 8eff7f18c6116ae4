/*
 * wizer.h: make a C or C++ program ready to be pre-initialised.
 *
 * Put one of the two macros at file scope, in one source file of the program:
 *
 *     #include <wizer.h>
 *
 *     static void load_tables(void) { ... }
 *     WIZER_INIT(load_tables)
 *
 *     int main(int argc, char **argv) { ... }
 *
 * Compile it for WASI, with this file's folder on the include path, then freeze it:
 *
 *     clang --target=wasm32-wasi -I "$(wizer --include-dir)" program.c -o program.wasm
 *     wizer --allow-wasi -r _start=wizer.resume program.wasm -o frozen.wasm
 *
 * WIZER_INIT(f) exports two functions:
 *
 *   wizer-initialize   Runs the constructors of global objects (unless `_initialize` did so before), then
 *                      `void f(void)`, then has libc forget what it knows of the machine: preopened
 *                      directories, the environment, the end of standard input; what was printed is written.
 *                      Wizer calls it, keeps the state that it leaves, and removes it.
 *   wizer.resume       Runs `main`, then the destructors and `atexit` handlers, and exits with main's status
 *                      where that is not 0. It runs no constructors: what they did is in the frozen state.
 *                      Rename it to `_start` (as above) so that the result is an ordinary command. Without the
 *                      rename the program's own `_start` stays, which runs the constructors a second time.
 *
 * WIZER_DEFAULT_INIT() is the same with no function of your own: the state after the constructors is frozen.
 *
 * Both execution models work: a command (the default) and a reactor (`-mexec-model=reactor`). A reactor need
 * not have a `main`; if it has none, define WIZER_NO_MAIN before including this file, and there is no
 * `wizer.resume`.
 *
 * What `f` keeps itself stays: strings from `getenv`, variables that it set with `setenv` do not (they are
 * the environment's), the current directory does. Files that it leaves open are closed to the frozen program.
 * To keep what libc knows as well, define WIZER_KEEP_LIBC_STATE before including this file.
 */
#ifndef WIZER_H
#define WIZER_H

#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>

#ifdef __cplusplus
#define WIZER_EXTERN_C_ extern "C"
#else
#define WIZER_EXTERN_C_ extern
#endif

/* Made by the linker: runs all constructors. */
WIZER_EXTERN_C_ void __wasm_call_ctors(void);

/* From libc: the atexit handlers, the destructors, stdio's buffers. */
WIZER_EXTERN_C_ void __wasm_call_dtors(void);

/* `int main(void)` itself, or libc's function that fetches the arguments and calls `main` with them. The
 * compiler defines this symbol in the file that defines `int main(void)`, where a declaration of the same name
 * would push it aside; \01 makes it another name for the compiler and the same one for the linker. */
WIZER_EXTERN_C_ int wizer_main_(void) __asm__("\01__main_void");

/* What `_start` and `_initialize` do before the constructors where there are threads. */
#ifdef _REENTRANT
WIZER_EXTERN_C_ void __wasi_init_tp(void);
#define WIZER_INIT_THREAD_() __wasi_init_tp()
#else
#define WIZER_INIT_THREAD_() ((void)0)
#endif

/* What libc knows of the machine that the program runs on, it finds out once: the preopened directories at the
 * first path, the environment at the first `getenv`, or at the start where the program uses `environ`; and a
 * stream that came to its end stays there. In a frozen program that would be another machine's. These are
 * libc's functions that forget. They are there if the program has a use for them, else null: a weak reference
 * takes nothing in from libc, and becomes a strong one where the program calls the function itself. */
#ifdef WIZER_KEEP_LIBC_STATE
#define WIZER_FORGET_() ((void)0)
#define WIZER_READ_ENVIRON_() ((void)0)
#define WIZER_DEFINE_FORGET_
#else
#define WIZER_FORGET_() wizer_forget_()
#define WIZER_READ_ENVIRON_() wizer_read_environ_()
#define WIZER_WEAK_(name) __attribute__((weakref(name)))
#define WIZER_DEFINE_FORGET_                                                                                 \
  static void wizer_libc_reset_preopens_(void) WIZER_WEAK_("__wasilibc_reset_preopens");                     \
  static void wizer_libc_forget_environ_(void) WIZER_WEAK_("__wasilibc_deinitialize_environ");               \
  static void wizer_libc_read_environ_(void) WIZER_WEAK_("__wasilibc_maybe_reinitialize_environ_eagerly");   \
  static FILE *const wizer_stdin_ WIZER_WEAK_("stdin");                                                      \
  static void wizer_read_environ_(void) {                                                                    \
    if (wizer_libc_read_environ_) {                                                                          \
      wizer_libc_read_environ_();                                                                            \
    }                                                                                                        \
  }                                                                                                          \
  static void wizer_forget_(void) {                                                                          \
    fflush(NULL);                                                                                            \
    if (&wizer_stdin_) {                                                                                     \
      __fpurge(wizer_stdin_);                                                                                \
      clearerr(wizer_stdin_);                                                                                \
    }                                                                                                        \
    if (wizer_libc_forget_environ_) {                                                                        \
      wizer_libc_forget_environ_();                                                                          \
    }                                                                                                        \
    if (wizer_libc_reset_preopens_) {                                                                        \
      wizer_libc_reset_preopens_();                                                                          \
    }                                                                                                        \
  }
#endif

/* Where there is no `wizer.resume` to read it again, a program that uses `environ` keeps the environment. */
#ifdef WIZER_NO_MAIN
#define WIZER_FORGET_AT_END_() (WIZER_FORGET_(), WIZER_READ_ENVIRON_())
#else
#define WIZER_FORGET_AT_END_() WIZER_FORGET_()
#endif

/* A constructor of its own tells whether the constructors have run: a reactor's `_initialize`, which comes
 * before `wizer-initialize`, runs them, and they must not run twice. The flag is volatile, or the optimiser
 * would run this constructor at compile time. */
#define WIZER_DEFINE_INITIALIZE_(call)                                                                       \
  WIZER_DEFINE_FORGET_                                                                                       \
  static volatile int wizer_constructed_ = 0;                                                                \
  __attribute__((constructor)) static void wizer_note_constructed_(void) { wizer_constructed_ = 1; }         \
  WIZER_EXTERN_C_ void wizer_initialize_(void);                                                              \
  __attribute__((export_name("wizer-initialize"))) void wizer_initialize_(void) {                            \
    if (!wizer_constructed_) {                                                                               \
      WIZER_INIT_THREAD_();                                                                                  \
      __wasm_call_ctors();                                                                                   \
    }                                                                                                        \
    call;                                                                                                    \
    WIZER_FORGET_AT_END_();                                                                                  \
  }

#ifdef WIZER_NO_MAIN
#define WIZER_DEFINE_RESUME_
#else
#define WIZER_DEFINE_RESUME_                                                                                 \
  WIZER_EXTERN_C_ void wizer_resume_(void);                                                                  \
  __attribute__((export_name("wizer.resume"))) void wizer_resume_(void) {                                    \
    int status;                                                                                              \
    WIZER_READ_ENVIRON_();                                                                                   \
    status = wizer_main_();                                                                                  \
    __wasm_call_dtors();                                                                                     \
    if (status != 0) {                                                                                       \
      _Exit(status);                                                                                         \
    }                                                                                                        \
  }
#endif

#define WIZER_INIT(f) WIZER_DEFINE_INITIALIZE_(f()) WIZER_DEFINE_RESUME_
#define WIZER_DEFAULT_INIT() WIZER_DEFINE_INITIALIZE_((void)0) WIZER_DEFINE_RESUME_

#endif /* WIZER_H */
