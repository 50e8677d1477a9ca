// The pause process of a sandbox: reaps zombies, ends at once on SIGTERM or SIGINT. With an argument it first moves into a
// network namespace of its own, lets go of all capabilities, and says so by its name. Linux arm64, no libc.
    .text
    ldr x9, [sp]                    // argc
    cmp x9, #2
    b.lt pause
    mov x0, #0x40000000             // unshare(CLONE_NEWNET)
    mov x8, #97
    svc #0
    tbnz x0, #63, fail
    adr x0, process                 // capset(process, none)
    adr x1, none
    mov x8, #91
    svc #0
    tbnz x0, #63, fail
    mov x0, #15                     // prctl(PR_SET_NAME, name)
    adr x1, name
    mov x8, #167
    svc #0
pause:
    mov x0, #17                     // rt_sigaction(SIGCHLD, {SIG_IGN}, 0, 8): the kernel then reaps our children itself
    adr x1, ignore
    mov x2, #0
    mov x3, #8
    mov x8, #134
    svc #0
    mov x0, #0                      // rt_sigprocmask(SIG_BLOCK, signals, 0, 8): process 1 never sees an unhandled
    adr x1, signals                 // signal, but a blocked one stays pending for us to take
    mov x2, #0
    mov x3, #8
    mov x8, #135
    svc #0
wait:
    adr x0, signals                 // rt_sigtimedwait(signals, 0, 0, 8)
    mov x1, #0
    mov x2, #0
    mov x3, #8
    mov x8, #137
    svc #0
    tbnz x0, #63, wait              // EINTR
    mov x0, #0                      // exit_group(0)
    mov x8, #94
    svc #0
fail:
    mov x0, #1                      // exit_group(1)
    mov x8, #94
    svc #0
    .balign 8
signals:
    .quad 0x4002                    // SIGINT (2) and SIGTERM (15)
ignore:
    .quad 1, 0, 0, 0                // struct sigaction: SIG_IGN, no flags, no restorer, empty mask
process:
    .word 0x20080522, 0             // _LINUX_CAPABILITY_VERSION_3, this process
none:
    .quad 0, 0, 0                   // effective, permitted and inheritable, twice 32 bits each
name:
    .asciz "sandbox"
