# The pause process of a sandbox: reaps zombies, ends at once on SIGTERM or SIGINT. With an argument it first moves into a
# network namespace of its own, lets go of all capabilities, and says so by its name. Linux amd64, no libc.
    .intel_syntax noprefix
    .text
    cmp qword ptr [rsp], 2          # argc
    jl pause
    mov edi, 0x40000000             # unshare(CLONE_NEWNET)
    mov eax, 272
    syscall
    test eax, eax
    js fail
    lea rdi, [rip + process]        # capset(process, none)
    lea rsi, [rip + none]
    mov eax, 126
    syscall
    test eax, eax
    js fail
    mov edi, 15                     # prctl(PR_SET_NAME, name)
    lea rsi, [rip + name]
    mov eax, 157
    syscall
pause:
    lea rsi, [rip + ignore]         # rt_sigaction(SIGCHLD, {SIG_IGN}, 0, 8): the kernel then reaps our children itself
    mov edi, 17
    xor edx, edx
    mov r10d, 8
    mov eax, 13
    syscall
    lea rsi, [rip + signals]        # rt_sigprocmask(SIG_BLOCK, signals, 0, 8): process 1 never sees an unhandled
    xor edi, edi                    # signal, but a blocked one stays pending for us to take
    xor edx, edx
    mov r10d, 8
    mov eax, 14
    syscall
wait:
    lea rdi, [rip + signals]        # rt_sigtimedwait(signals, 0, 0, 8)
    xor esi, esi
    xor edx, edx
    mov r10d, 8
    mov eax, 128
    syscall
    test eax, eax
    js wait                         # EINTR
    xor edi, edi                    # exit_group(0)
    mov eax, 231
    syscall
fail:
    mov edi, 1                      # exit_group(1)
    mov eax, 231
    syscall
    .balign 8
signals:
    .quad 0x4002                    # SIGINT (2) and SIGTERM (15)
ignore:
    .quad 1, 0, 0, 0                # struct sigaction: SIG_IGN, no flags, no restorer, empty mask
process:
    .long 0x20080522, 0             # _LINUX_CAPABILITY_VERSION_3, this process
none:
    .quad 0, 0, 0                   # effective, permitted and inheritable, twice 32 bits each
name:
    .asciz "sandbox"
