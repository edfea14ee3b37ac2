<#
.SYNOPSIS
Runs "mhfd watch" on this PC while you are logged on. No administrator rights are needed.

.DESCRIPTION
Installs the virtual environment %LOCALAPPDATA%\mhfd\venv, asks for a configuration if there is none (mhfd init), and
registers the task mhfd-watch. Run it again after an update or a change. -WhatIf says what it would do.

.PARAMETER Python
Python 3.10 to 3.14, python.exe with its folder. By default the newest of these that the launcher "py" knows.

.PARAMETER WatchProfile
Name of the [profiles.NAME] of the configuration to watch with. By default the configuration's own choice.

.PARAMETER Extras
Extras of mhfd to install.

.PARAMETER Wheels
Install from the wheels in this folder, without a network.

.PARAMETER NoStart
Register the task, but do not start it now.

.PARAMETER Uninstall
Remove task and packages. Configuration, ledger and logs stay.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File deploy\microscope\install.ps1

.EXAMPLE
powershell -ExecutionPolicy Bypass -File deploy\microscope\install.ps1 -Wheels D:\wheels -WatchProfile sem2
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [string] $Python = '',
    [ValidatePattern('^[A-Za-z0-9._-]*$')]
    [string] $WatchProfile = '',
    [ValidatePattern('^[a-z0-9,]+$')]
    [string] $Extras = 'globus,cpu,codecs',
    [string] $Wheels = '',
    [switch] $NoStart,
    [switch] $Uninstall
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$TaskName = 'mhfd-watch'
$Folder = Join-Path $env:LOCALAPPDATA 'mhfd'
$Venv = Join-Path $Folder 'venv'
$VenvPython = Join-Path $Venv 'Scripts\python.exe'
$Mhfd = Join-Path $Venv 'Scripts\mhfd.exe'
$Checkout = Split-Path (Split-Path $PSScriptRoot)
$env:MHFD_CONFIG = $null  # the task does not get this window's
$env:MHFD_PROFILE = $null

function Invoke-Program {
    # Runs a program, and throws if it fails. With -WhatIf it only prints it.
    param([string] $Program, [string[]] $Arguments)
    if (-not $PSCmdlet.ShouldProcess("$Program $Arguments", 'Run')) { return }
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program $Arguments ended with exit code $LASTEXITCODE." }
}

function Test-Python {
    # True if mhfd runs on this Python.
    param([string] $Program, [string[]] $Arguments)
    if ($null -eq (Get-Command $Program -ErrorAction SilentlyContinue)) { return $false }
    $check = 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))'
    & $Program @Arguments -c $check | Out-Null
    return $LASTEXITCODE -eq 0
}

function New-Environment {
    if ($Python) {
        if (-not (Test-Python $Python @())) { throw "$Python is not Python 3.10 to 3.14." }
        Invoke-Program $Python @('-m', 'venv', $Venv)
        return
    }
    foreach ($version in '-3.14', '-3.13', '-3.12', '-3.11', '-3.10') {
        if (Test-Python 'py' @($version)) {
            Invoke-Program 'py' @($version, '-m', 'venv', $Venv)
            return
        }
    }
    throw 'No Python 3.10 to 3.14 was found. Install one from python.org, for yourself alone, or name it with -Python.'
}

function Install-Package {
    if (-not (Test-Path $VenvPython)) { New-Environment }
    $what = @("${Checkout}[$Extras]")
    if ($Wheels) { $what = @('--no-index', '--find-links', $Wheels, "mhfd[$Extras]") }
    $pip = @('-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--upgrade')
    Invoke-Program $VenvPython ($pip + $what)
}

function Set-Configuration {
    $there = 'import sys; from mhfd_client.config import default_path as p; sys.exit(not p().exists())'
    if (Test-Path $VenvPython) {
        & $VenvPython -c $there
        if ($LASTEXITCODE -ne 0) { Invoke-Program $Mhfd @('init') }
    }
    Invoke-Program $Mhfd @('config', 'validate')
}

function Get-WatchTask {
    return Get-ScheduledTask -TaskName $TaskName -ErrorAction SilentlyContinue
}

function Stop-Watch {
    # Ends at once; the next start resumes what was under way.
    if ((Get-WatchTask) -and $PSCmdlet.ShouldProcess($TaskName, 'Stop the task')) {
        Stop-ScheduledTask -TaskName $TaskName
        for ($i = 0; $i -lt 60 -and (Get-WatchTask).State -eq 'Running'; $i++) { Start-Sleep -Milliseconds 500 }
    }
}

function Register-Watch {
    $task = New-Object System.Xml.XmlDocument
    $task.Load((Join-Path $PSScriptRoot 'mhfd-watch.xml'))
    @($task.SelectNodes('//comment()')) | ForEach-Object { [void] $_.ParentNode.RemoveChild($_) }
    $user = [System.Security.Principal.WindowsIdentity]::GetCurrent().Name
    $task.Task.Triggers.LogonTrigger.UserId = $user
    $task.Task.Principals.Principal.UserId = $user
    if ($WatchProfile) { $task.Task.Actions.Exec.Arguments += " --profile $WatchProfile" }
    if (-not $PSCmdlet.ShouldProcess($TaskName, 'Register the task')) { return }
    try {
        Register-ScheduledTask -TaskName $TaskName -Xml $task.DocumentElement.OuterXml -Force | Out-Null
    } catch {
        # Some PCs let only administrators have tasks that start at log-on. The other trigger starts it within minutes.
        Write-Warning "No start at log-on ($($_.Exception.Message)); it starts within five minutes of it instead."
        [void] $task.Task.Triggers.RemoveChild($task.Task.Triggers.LogonTrigger)
        Register-ScheduledTask -TaskName $TaskName -Xml $task.DocumentElement.OuterXml -Force | Out-Null
    }
}

function Uninstall-Watch {
    Stop-Watch
    if ((Get-WatchTask) -and $PSCmdlet.ShouldProcess($TaskName, 'Unregister the task')) {
        Unregister-ScheduledTask -TaskName $TaskName -Confirm:$false
    }
    if ((Test-Path $Venv) -and $PSCmdlet.ShouldProcess($Venv, 'Remove')) {
        Remove-Item -LiteralPath $Venv -Recurse -Force
    }
    Write-Output 'Configuration, ledger and logs are still there.'
}

if ($Uninstall) {
    Uninstall-Watch
    return
}
if ($Wheels -and -not (Test-Path -LiteralPath $Wheels -PathType Container)) { throw "There is no folder $Wheels." }
if (-not (Test-Path $Folder)) { New-Item -ItemType Directory -Path $Folder | Out-Null }
Stop-Watch  # Windows keeps the files of a running program from being replaced
Install-Package
Set-Configuration
Register-Watch
if ($NoStart) {
    Write-Output "Not started. Later: Start-ScheduledTask -TaskName $TaskName"
} elseif ($PSCmdlet.ShouldProcess($TaskName, 'Start the task')) {
    Start-ScheduledTask -TaskName $TaskName
    Write-Output "It runs. To check: $Mhfd status"
}
